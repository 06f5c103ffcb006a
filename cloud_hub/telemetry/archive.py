"""Verified batches become rows: rows, cursors and totals in one transaction, and the answer that may then be sent.

The same identity with the same bytes is counted and otherwise nothing; with other bytes it is set aside with the
whole message, and the row that was first stays. Never answers before the transaction is through: its caller does.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy import Connection, RowMapping, insert, select, tuple_

from cloud_hub.storage.database import RowTuple, insert_rows, put
from cloud_hub.storage.schema import batches, cursors, quarantine
from cloud_hub.telemetry import derived
from cloud_hub.telemetry.account import pack, unpack
from cloud_hub.telemetry.rows import SHAPES, ContextIds, between, intern, of_stream
from cloud_hub.telemetry.verify import BatchArrival, Refusal, Refused
from edge_protocol import ranges
from edge_protocol.messages import Gap
from edge_protocol.ranges import EMPTY, Ranges

Key: TypeAlias = tuple[str, int, str]
"""Gateway, epoch, stream."""

MAX_QUARANTINED = 1000
"""Contradicting messages kept of one gateway: enough to see what happened, not enough to fill a disk."""


MAX_RANGES = 1024
"""More pieces of one stream than this are not taken: an honest gateway leaves a handful of holes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receipt may say after the commit: all that is committed of a stream, and of the numbers that just came,
    `answers`, those that contradict what was here before.
    """

    gateway: str
    epoch: int
    stream: str
    committed: Ranges
    conflicts: Ranges
    answers: Ranges


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of some batches: what may be answered once the transaction is through, and which were refused."""

    answers: list[Answer] = field(default_factory=list)
    refused: list[tuple[BatchArrival, Refused]] = field(default_factory=list)


@dataclass(slots=True)
class _Cursor:
    """A cursor while its transaction runs."""

    tenant: str
    archived: Ranges = EMPTY
    declared: Ranges = EMPTY
    resent: int = 0
    conflicting: int = 0


@dataclass(frozen=True, slots=True)
class _New:
    """Rows of a batch that are not archived yet."""

    arrival: BatchArrival
    rows: list[RowTuple]


@dataclass(slots=True)
class _Work:
    """What one transaction gathers before it writes it."""

    now_us: int
    cursors: dict[Key, _Cursor]
    new: list[_New] = field(default_factory=list)
    totals: derived.Totals = field(default_factory=Counter)


def write(connection: Connection, arrivals: Sequence[BatchArrival], now_us: int) -> Outcome:
    """Archive batches inside the transaction of `connection`; the answers hold once it is committed."""
    outcome = Outcome()
    if not arrivals:
        return outcome
    work = _Work(now_us, _load(connection, _keys(arrivals), now_us))
    contexts = intern(connection, arrivals)
    taken: list[tuple[BatchArrival, Ranges]] = []
    for arrival in arrivals:
        try:
            taken.append((arrival, _archive(connection, work, arrival, contexts)))
        except Refused as refused:  # raised before anything of this batch was noted
            outcome.refused.append((arrival, refused))
    _flush(connection, work)
    _save(connection, work)
    outcome.answers.extend(_answer(work, *each) for each in taken)
    return outcome


def _answer(work: _Work, arrival: BatchArrival, conflicts: Ranges) -> Answer:
    """What can be said of a batch by the cursor as it stands at the end of the transaction."""
    batch, cursor = arrival.batch, work.cursors[_key(arrival)]
    committed = ranges.union(cursor.archived, cursor.declared)
    return Answer(batch.gateway, batch.epoch, batch.stream, committed, conflicts, _span(arrival))


def _span(arrival: BatchArrival) -> Ranges:
    rows = arrival.batch.rows
    return ((rows[0].seq, rows[-1].seq),)


def _archive(connection: Connection, work: _Work, arrival: BatchArrival, contexts: ContextIds) -> Ranges:
    """Note what is new of a batch; answers with the numbers whose rows contradict what is archived."""
    batch, cursor, span = arrival.batch, work.cursors[_key(arrival)], _span(arrival)
    archived = ranges.union(cursor.archived, span)
    if len(archived) + len(cursor.declared) > MAX_RANGES:
        detail = f"{batch.stream} of epoch {batch.epoch} would lie in more than {MAX_RANGES} pieces"
        raise Refused(Refusal.SCATTERED, detail)
    shape = of_stream(batch.stream)
    rows = shape.rows(arrival, contexts)
    seen = ranges.intersect(cursor.archived, span)
    if seen:
        _flush(connection, work)  # what is compared with may have come in this very transaction
    conflicts = shape.conflicts(connection, batch, rows, seen) if seen else EMPTY
    if new := between(rows, ranges.subtract(span, seen)):
        work.new.append(_New(arrival, new))
        gaps = derived.gaps_in(arrival)
        for gap in (gaps[row[0]] for row in new if row[0] in gaps):
            _declare(work.cursors[(batch.gateway, gap.epoch, gap.stream)], gap)
    cursor.archived = archived
    cursor.resent += ranges.count(seen) - ranges.count(conflicts)
    if conflicts:
        cursor.conflicting += ranges.count(conflicts)
        _set_aside(connection, arrival, conflicts, work.now_us)
    return conflicts


def _flush(connection: Connection, work: _Work) -> None:
    """Write the new rows gathered so far: batches first, for rows carry their batch's number."""
    if not work.new:
        return
    headers = [_header(new.arrival, len(new.rows), work.now_us) for new in work.new]
    ids = connection.execute(_INSERT_BATCHES, headers).scalars().all()
    numbered = [(new.arrival, batch_id, new.rows) for new, batch_id in zip(work.new, ids, strict=True)]
    for shape in SHAPES:
        shape.write(connection, [each for each in numbered if of_stream(each[0].batch.stream) is shape])
    for arrival, _, rows in numbered:
        work.totals.update(derived.count(arrival, rows))
    derived.write(connection, numbered)
    work.new = []


def _declare(cursor: _Cursor, gap: Gap) -> None:
    declared = ranges.union(cursor.declared, ((gap.first, gap.last),))
    if len(declared) + len(cursor.archived) <= MAX_RANGES:
        cursor.declared = declared


_INSERT_BATCHES = insert(batches).returning(batches.c.id, sort_by_parameter_order=True)


def _header(arrival: BatchArrival, added: int, now_us: int) -> dict[str, Any]:
    batch, sealed, time = arrival.batch, arrival.envelope, arrival.batch.time
    times = [row.at_us for row in batch.rows]
    return {
        "tenant": arrival.tenant, "gateway": batch.gateway, "epoch": batch.epoch, "stream": batch.stream,
        "first": batch.rows[0].seq, "last": batch.rows[-1].seq, "added": added,
        "first_us": min(times), "last_us": max(times), "received_us": now_us,
        "boot": time.boot, "run": time.run, "wall_us": time.wall_us, "mono_us": time.mono_us, "clock": time.clock,
        "config": batch.config.hex(), "digest": arrival.digest, "signature": sealed.signature, "alg": sealed.alg,
        "key_id": sealed.key_id.hex(),
    }  # fmt: skip


def _set_aside(connection: Connection, arrival: BatchArrival, conflicts: Ranges, now_us: int) -> None:
    batch = arrival.batch
    kept = select(quarantine.c.id).where(quarantine.c.gateway == batch.gateway).limit(MAX_QUARANTINED)
    if len(connection.execute(kept).all()) >= MAX_QUARANTINED:
        return
    text = ", ".join(f"{first} to {last}" for first, last in conflicts[:10])
    row = (
        arrival.tenant, batch.gateway, batch.epoch, batch.stream, now_us, "cloned identity", text, arrival.digest,
        arrival.message,
    )  # fmt: skip
    names = ("tenant", "gateway", "epoch", "stream", "received_us", "reason", "conflicts", "digest", "message")
    insert_rows(connection, quarantine, names, [row], past_known=True)


def _load(connection: Connection, tenants: dict[Key, str], now_us: int) -> dict[Key, _Cursor]:
    """The cursors, locked until the end of the transaction; those not there yet are made first, so all can be."""
    found = _select(connection, tenants)
    if missing := [(*key, tenants[key], pack(EMPTY), pack(EMPTY), now_us) for key in tenants if key not in found]:
        names = ("gateway", "epoch", "stream", "tenant", "archived", "declared", "updated_us")
        insert_rows(connection, cursors, names, missing, past_known=True)
        found = _select(connection, tenants)
    return found


def _select(connection: Connection, keys: Iterable[Key]) -> dict[Key, _Cursor]:
    key = tuple_(cursors.c.gateway, cursors.c.epoch, cursors.c.stream)
    query = select(cursors).where(key.in_(sorted(keys))).order_by(*key).with_for_update()
    return {(row["gateway"], row["epoch"], row["stream"]): _cursor(row) for row in connection.execute(query).mappings()}


def _cursor(row: RowMapping) -> _Cursor:
    return _Cursor(row["tenant"], unpack(row["archived"]), unpack(row["declared"]), row["resent"], row["conflicting"])


def _save(connection: Connection, work: _Work) -> None:
    rows = (
        {
            "gateway": gateway, "epoch": epoch, "stream": stream, "tenant": cursor.tenant,
            "archived": pack(cursor.archived), "declared": pack(cursor.declared), "resent": cursor.resent,
            "conflicting": cursor.conflicting, "updated_us": work.now_us,
        }
        for (gateway, epoch, stream), cursor in work.cursors.items()
    )  # fmt: skip
    put(connection, cursors, *rows)
    derived.add_totals(connection, work.totals)


def _keys(arrivals: Iterable[BatchArrival]) -> dict[Key, str]:
    """The cursors that a transaction needs, with their tenants: of the batches and of what they declare as lost."""
    keys: dict[Key, str] = {}
    for arrival in arrivals:
        keys[_key(arrival)] = arrival.tenant
        for gap in derived.gaps_in(arrival).values():
            keys[(arrival.batch.gateway, gap.epoch, gap.stream)] = arrival.tenant
    return keys


def _key(arrival: BatchArrival) -> Key:
    return (arrival.batch.gateway, arrival.batch.epoch, arrival.batch.stream)
