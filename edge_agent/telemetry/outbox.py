"""Records wait here until the hub has said that it has them: rows come in, batches go out, receipts settle.

Every number of every (epoch, stream) is held, received or declared, and `accounts` says which; what is not one of these
does not exist. Knows neither the network nor the keys.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any, NamedTuple

from edge_agent.judgement import Judgement
from edge_agent.outputs.output import Letter
from edge_agent.store import Connection, Store, StoreFull, fetch
from edge_agent.telemetry import cursors, letters, numbers, record, settlement, shedding
from edge_agent.telemetry.cursors import Cursor, row_id
from edge_agent.telemetry.interned import Interned
from edge_protocol import ranges
from edge_protocol.batch import Batch
from edge_protocol.codes import Reason, Stream, Verdict
from edge_protocol.messages import AnyRecord, Receipt, StreamAccount
from edge_protocol.ranges import EMPTY, Ranges

HIGH_WATER = 0.95
"""Above this share of the quota an append sheds first, so that it does not fail."""

ROW_BYTES = 256
"""A row takes less: after so many bytes for each of them it is time to look at the quota again."""

SHED_ROWS = 2000
"""Rows that are shed at a time: enough that a gap is declared now and then, not with each commit."""

KEEP_ROWS = 100_000
KEEP_US = 30 * 86_400_000_000
MIN_KEEP_ROWS = 5000
"""More than the intake ring holds: after a kill the newest rows tell which of its slots are on record already."""


class RecentVerdict(NamedTuple):
    """A verdict for people."""

    at_us: int
    pipeline: str
    trigger: int
    part: str
    verdict: str
    reason: str
    score: float | None
    latency_us: int
    bundle: str
    version: str


class Outbox:
    """The records of one gateway. Safe to use from every thread; each call is a transaction of its own."""

    def __init__(
        self,
        store: Store,
        gateway: str,
        config_digest: bytes = b"",
        *,
        keep_rows: int = KEEP_ROWS,
        keep_us: int = KEEP_US,
        owing: letters.Owing | None = None,
    ) -> None:
        """`keep_rows` and `keep_us`: how much of what the hub has stays here for the operator, the lesser of both.

        `owing`: by pipeline, the outputs whose letters are kept until their outcome is known.
        """
        self._store = store
        self._gateway = gateway
        self._keep_rows = max(keep_rows, MIN_KEEP_ROWS)
        self._keep_us = keep_us
        self._owing = owing or {}
        self._senders = {name for names in self._owing.values() for name in names}
        self._interned = Interned(store.clock, config_digest)
        self._head: cursors.Head | None = None
        self._rollbacks = store.rollbacks
        self._room_bytes = 0
        if store.salvage is not None:
            self._declare_salvage()

    def append(
        self,
        judgements: Sequence[Judgement],
        records: Sequence[tuple[Stream, int, AnyRecord]] = (),
        owed_from: int = 0,
    ) -> None:
        """Make judgements and records (stream, UTC µs, record) durable: all of them, or none.

        `owed_from`, if it is known, is the first trigger that owes a verdict even then.

        Raises:
            StoreFull: no room, although what may be shed at once was shed.
            StoreError: nothing was written; they are the caller's to keep.
        """
        with self._store.transaction() as connection:
            self._forget_undone()
            if self._room_bytes <= 0:
                self._make_room(connection, max(SHED_ROWS, 2 * len(judgements)))
            if judgements:
                self._append_judgements(connection, judgements)
                numbers.keep(connection, judgements)
            if owed_from:
                connection.execute("INSERT OR REPLACE INTO meta VALUES ('owed_from', ?)", (owed_from,))
            if self._senders:
                letters.keep(connection, judgements, records, self._owing, self._senders)
            self._append_records(connection, records)

    def append_by_shedding(
        self,
        judgements: Sequence[Judgement],
        records: Sequence[tuple[Stream, int, AnyRecord]] = (),
        owed_from: int = 0,
    ) -> None:
        """As `append`; where there is no room at all, at the price of the least important.

        Raises:
            StoreError: as `append`.
        """
        try:
            self.append(judgements, records, owed_from)
        except StoreFull:
            self.shed(max(SHED_ROWS, 2 * len(judgements)))
            self.append(judgements, records, owed_from)

    def next_batch(self, skip: Mapping[tuple[int, str], Ranges] | None = None, max_rows: int = 200) -> Batch | None:
        """The next rows to send that are not in `skip`: of the first stream by priority, of its oldest epoch.

        Raises:
            StoreError: as `Store.transaction`.
        """
        with self._store.reading() as connection:
            self._forget_undone()
            for cursor, unsent in self._unsent(connection, skip or {}):
                rows = self._rows(connection, cursor, unsent[0], max_rows)
                if rows:
                    run = self._interned.run(connection, rows[0][2])
                    return record.make_batch(
                        self._gateway, cursor, rows, run, lambda n: self._interned.context(connection, n)
                    )
        return None

    def waiting(self, skip: Mapping[tuple[int, str], Ranges] | None = None) -> dict[tuple[int, str], int]:
        """How many rows of each (epoch, stream) are neither received nor in `skip`."""
        with self._store.reading() as connection:
            unsent = self._unsent(connection, skip or {})
            return {(cursor.epoch, cursor.stream): ranges.count(unsent_here) for cursor, unsent_here in unsent}

    def settle(self, *receipts: Receipt) -> None:
        """Work in what the hub has said. Its receipts are believed: verify them first."""
        with self._store.transaction() as connection:
            self._forget_undone()
            self._head = None
            tell = self._tell(connection)
            for receipt in receipts:
                settlement.apply(connection, receipt, self._store.epoch, self._store.new_epoch, tell)

    def accounts(self) -> tuple[StreamAccount, ...]:
        """What was made, what is held and what was given up, for each stream of each epoch."""
        with self._store.reading() as connection:
            return tuple(
                StreamAccount(
                    cursor.epoch, cursor.stream, cursor.next - 1, cursor.held,
                    ranges.subtract(cursor.declared, cursor.committed),
                )
                for cursor in cursors.load_all(connection)
            )  # fmt: skip

    def oldest_s(self) -> float:
        """The age of the oldest record that the hub has not confirmed; 0 when there is none."""
        with self._store.reading() as connection:
            times = [
                at_us
                for cursor in cursors.load_all(connection)
                for first, last in cursor.held[:1]
                for (at_us,) in fetch(
                    connection,
                    record.select_oldest(cursor.stream),
                    (row_id(cursor.epoch, first), row_id(cursor.epoch, last)),
                )
            ]
        now_us = self._store.clock.wall_us()
        return max(0, now_us - min(times, default=now_us)) / 1e6

    def totals(self) -> dict[str, dict[str, int]]:
        """How many verdicts of each kind every pipeline has given since the database was made."""
        sums: dict[str, dict[str, int]] = {}
        with self._store.reading() as connection:
            for totals in cursors.all_totals(connection):
                for pipeline, counts in totals.items():
                    line = sums.setdefault(pipeline, {verdict.name: 0 for verdict in Verdict})
                    for verdict, n in zip(Verdict, counts, strict=True):
                        line[verdict.name] += n
        return sums

    def last_verdict(self) -> tuple[int, int]:
        """The highest trigger on record and the time of the last verdict; zeros before the first."""
        with self._store.reading() as connection:
            return cursors.last_trigger(connection)

    def owed_from(self) -> int:
        """The first trigger that owed a verdict after the last commit; 0 where none has said so."""
        with self._store.reading() as connection:
            found = fetch(connection, "SELECT value FROM meta WHERE name = 'owed_from'")
        return int(found[0][0]) if found else 0

    def told_until(self, trigger: int) -> int:
        """The time of the last verdict on record of a trigger before this one, UTC µs; 0 where there is none."""
        with self._store.reading() as connection:
            ((at_us,),) = fetch(connection, "SELECT max(at_us) FROM verdicts WHERE trigger < ?", (trigger,))
        return at_us or 0

    def numbers(self) -> dict[str, int]:
        """By pipeline, the source's own number of the part recorded last, where the source counts them."""
        with self._store.reading() as connection:
            return numbers.load(connection)

    def forget_numbers(self) -> None:
        """After a stop in order: what passes until the next start is no part of ours, killed early or not.

        Raises:
            StoreError: they are as they were.
        """
        with self._store.transaction() as connection:
            numbers.forget(connection)

    def letters(self) -> list[Letter]:
        """What outputs owe the line, the oldest first; from now on also those that are no more may settle theirs."""
        with self._store.reading() as connection:
            found = letters.load(connection)
        self._senders.update(each.output for each in found)
        return found

    def recorded(self, judgements: Iterable[Judgement]) -> set[tuple[int, str]]:
        """Which of these are on record, as (trigger, pipeline). Looks at every row: for the start after a kill."""
        triggers = [judgement.trigger.n for judgement in judgements]
        if not triggers:
            return set()
        sql = (
            "SELECT trigger, pipeline FROM verdicts v JOIN contexts c ON c.id = v.context WHERE trigger BETWEEN ? AND ?"
        )
        with self._store.reading() as connection:
            return set(fetch(connection, sql, (min(triggers), max(triggers))))

    def recent_verdicts(self, limit: int = 50) -> list[RecentVerdict]:
        """The last verdicts, the newest first."""
        sql = (
            "SELECT at_us, pipeline, trigger, part, verdict, reason, score, latency_us, bundle, version "
            "FROM verdicts v JOIN contexts c ON c.id = v.context WHERE v.id BETWEEN ? AND ? ORDER BY v.id DESC LIMIT ?"
        )
        found: list[tuple[Any, ...]] = []
        with self._store.reading() as connection:
            epochs = [cursor.epoch for cursor in cursors.load_all(connection) if cursor.stream == Stream.VERDICTS]
            for epoch in reversed(epochs):
                found += fetch(connection, sql, (row_id(epoch, 0), row_id(epoch + 1, 0) - 1, limit - len(found)))
        return [RecentVerdict(*row)._replace(verdict=Verdict(row[4]).name, reason=Reason(row[5]).name) for row in found]

    def shed(self, rows: int = SHED_ROWS) -> int:
        """Make room at the price of the least important; how many rows were given up."""
        with self._store.transaction() as connection:
            self._forget_undone()
            return shedding.shed(connection, rows, self._tell(connection))

    def housekeep(self, budget_ms: float = 5.0) -> bool:
        """Delete what was kept long enough, a slice at a time; whether there is more to do."""
        end = perf_counter() + budget_ms / 1e3
        before_us = self._store.clock.wall_us() - self._keep_us
        self._store.keep()
        while True:
            with self._store.transaction() as connection:
                done = shedding.trim(connection, shedding.TRIM_ROWS, keep_rows=self._keep_rows, before_us=before_us)
            if not done or perf_counter() >= end:
                return bool(done)

    def _append_judgements(self, connection: Connection, judgements: Sequence[Judgement]) -> None:
        epoch, interned = self._store.epoch, self._interned
        head = self._head
        if head is None or head.epoch != epoch:
            head = self._head = cursors.head_of(connection, epoch, Stream.VERDICTS)
        runs, first = interned.runs(connection), row_id(epoch, head.next)
        try:
            rows = record.verdict_rows(judgements, first, interned.numbers, runs)
        except KeyError:
            interned.learn(connection, (judgement.context for judgement in judgements))
            rows = record.verdict_rows(judgements, first, interned.numbers, runs)
        connection.executemany(record.INSERT_VERDICT, rows)
        for (context, verdict), n in Counter(map(record.COUNTED, rows)).items():
            totals = head.totals.setdefault(interned.context(connection, context).pipeline, [0] * len(Verdict))
            totals[verdict] += n
        head.next += len(rows)
        head.last_trigger = max(head.last_trigger, *map(record.TRIGGER, rows))
        head.last_at_us = max(head.last_at_us, rows[-1][1])
        cursors.save_head(connection, head)
        self._room_bytes -= ROW_BYTES * len(rows)

    def _forget_undone(self) -> None:
        """What was remembered of a transaction that was rolled back is not so."""
        if self._store.rollbacks != self._rollbacks:
            self._rollbacks, self._head, self._room_bytes = self._store.rollbacks, None, 0
            self._interned.forget()

    def _make_room(self, connection: Connection, rows: int) -> None:
        self._room_bytes = self._store.room_bytes(HIGH_WATER)
        if self._room_bytes <= 0:
            shedding.shed(connection, rows, self._tell(connection))

    def _append_records(self, connection: Connection, records: Sequence[tuple[Stream, int, AnyRecord]]) -> None:
        if not records:
            return
        run = self._interned.current_run(connection)
        by_stream: dict[Stream, list[tuple[int, bytes]]] = {}
        for wanted, at_us, each in records:
            stream, body = record.encode_record(wanted, each)
            by_stream.setdefault(stream, []).append((at_us, body))
        for stream, rows in by_stream.items():
            first = row_id(self._store.epoch, cursors.advance(connection, self._store.epoch, stream, len(rows)))
            values = [(first + i, at_us, run, body) for i, (at_us, body) in enumerate(rows)]
            connection.executemany(record.insert_record(stream), values)
            self._room_bytes -= sum(ROW_BYTES + len(body) for _, body in rows)

    def _tell(self, connection: Connection) -> settlement.Tell:
        now_us = self._store.clock.wall_us()
        return lambda event: self._append_records(connection, ((Stream.EVENTS, now_us, event),))

    def _unsent(self, connection: Connection, skip: Mapping[tuple[int, str], Ranges]) -> list[tuple[Cursor, Ranges]]:
        found = (
            (cursor, ranges.subtract(cursor.held, skip.get((cursor.epoch, cursor.stream), EMPTY)))
            for cursor in cursors.load_all(connection)
        )
        return [(cursor, unsent) for cursor, unsent in found if unsent]

    def _rows(self, connection: Connection, cursor: Cursor, unsent: tuple[int, int], max_rows: int) -> list[record.Row]:
        first, last = unsent
        bounds = row_id(cursor.epoch, first), row_id(cursor.epoch, min(last, first + max_rows - 1))
        rows = fetch(connection, record.select_rows(cursor.stream), bounds)
        if not rows or rows[0][0] != bounds[0]:
            # Held by number and not there: without this the stream would wait for ever on a row that cannot come.
            with self._store.transaction() as writing:
                settlement.declare_missing(writing, cursor, "unreadable", self._tell(writing))
            return []
        return record.fit(rows)

    def _declare_salvage(self) -> None:
        with self._store.transaction() as connection:
            known = {(cursor.epoch, cursor.stream) for cursor in cursors.load_all(connection)}
            for epoch, stream in settlement.known_streams(connection):
                if (epoch, stream) not in known:
                    sql = f"SELECT max(id) & 4294967295 FROM {record.table_of(stream)} WHERE id >> 32 = ?"  # noqa: S608
                    ((high,),) = fetch(connection, sql, (epoch,))
                    cursors.save(connection, Cursor(epoch, stream, next=high + 1))
            for cursor in cursors.load_all(connection):
                settlement.declare_missing(connection, cursor, "unreadable", self._tell(connection))
            connection.execute("DELETE FROM meta WHERE name = 'salvage'")
