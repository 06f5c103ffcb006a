import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_agent.clock import FixedClock
from edge_agent.judgement import Judgement
from edge_agent.sample import Trigger
from edge_agent.store import Store, fetch
from edge_agent.telemetry.cursors import row_id
from edge_agent.telemetry.outbox import Outbox
from edge_agent.telemetry.record import select_rows
from edge_protocol import batch, ranges
from edge_protocol.batch import Context
from edge_protocol.codes import Reason, Stream, Verdict
from edge_protocol.messages import Fault, Receipt, decode_record
from tests.edge_agent.telemetry.fake_hub import FakeHub

CONTEXTS = tuple(Context(name, "tiles", "1", b"d" * 32) for name in ("surface", "engine"))
Identity = tuple[int, str, int]
RECORD_STREAMS = (Stream.EVENTS, Stream.DRIFT, Stream.METRICS)


class Ledger(RuleBasedStateMachine):
    """
    Whatever the network, a kill, the quota or a restored disk does: each row that was made is on disk, at the hub once,
    or was given up and says so; and each number of each stream is archived, held or declared.

    One row may be at the hub twice: that of an image which holds it under a number that it lost to another row, and got
    a new one for it, in a life that the restore has undone. No image can know that; the hub's account shows it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = FixedClock()
        self.hub = FakeHub()
        self.made: set[str] = set()
        self.given_up: set[str] = set()
        self.again: set[str] = set()
        self.wire: list[bytes] = []
        self.receipts: list[Receipt] = []
        self.trigger = 0
        self.has_backup = False
        self._start()

    def teardown(self) -> None:
        self._drain()
        self.every_row_is_somewhere_once()
        self.every_number_is_accounted_for()
        assert not any(account.held for account in self.outbox.accounts())
        self.store.close()
        shutil.rmtree(self.folder)

    def _start(self) -> None:
        self.store = Store.open(self.folder / "lineside.db", quota_bytes=16 * 2**20, clock=self.clock)
        self.outbox = Outbox(self.store, "press-1", b"c" * 32)
        self.outbox._keep_rows = 3

    def _mark(self) -> str:
        self.trigger += 1
        mark = f"m{self.trigger}"
        self.made.add(mark)
        return mark

    @rule(verdicts=st.integers(0, 6), records=st.lists(st.sampled_from(RECORD_STREAMS), max_size=3))
    def append(self, verdicts: int, records: list[Stream]) -> None:
        self.clock.advance(1000)
        judgements = []
        for i in range(verdicts):
            mark = self._mark()
            trigger = Trigger(1, self.trigger, self.clock.wall_us(), self.clock.mono_us(), mark)
            context = CONTEXTS[i % 2]
            judgements.append(Judgement(trigger, context.pipeline, context, Verdict.OK, Reason.NONE, 0.5, 700))
        rows = [
            (stream, self.clock.wall_us(), Fault(part="x", name="x", reason="x", active=True, detail=self._mark()))
            for stream in records
        ]
        self.outbox.append(judgements, rows)

    @rule(rows=st.integers(1, 7), skipped=st.integers(0, 5))
    def send(self, rows: int, skipped: int) -> None:
        skip = {
            (account.epoch, account.stream): ((account.held[0][0], account.held[0][0] + skipped - 1),)
            for account in self.outbox.accounts()
            if account.held and skipped
        }
        found = self.outbox.next_batch(skip, rows)
        if found is not None:
            self.wire.append(batch.encode(found))

    @precondition(lambda self: self.wire)
    @rule(data=st.data(), keep=st.booleans())
    def arrive(self, *, data: st.DataObject, keep: bool) -> None:
        i = data.draw(st.integers(0, len(self.wire) - 1))
        self.receipts.append(self.hub.receive(self.wire[i] if keep else self.wire.pop(i)))

    @precondition(lambda self: self.wire)
    @rule(data=st.data())
    def lose_batch(self, data: st.DataObject) -> None:
        self.wire.pop(data.draw(st.integers(0, len(self.wire) - 1)))

    @precondition(lambda self: self.receipts)
    @rule(data=st.data(), keep=st.booleans(), part=st.booleans())
    def settle(self, *, data: st.DataObject, keep: bool, part: bool) -> None:
        i = data.draw(st.integers(0, len(self.receipts) - 1))
        receipt = self.receipts[i] if keep else self.receipts.pop(i)
        if part:
            first, last = receipt.answers[0]
            low = data.draw(st.integers(first, last))
            high = data.draw(st.integers(low, last))
            fields = {name: getattr(receipt, name) for name in receipt.__struct_fields__}
            receipt = Receipt(**{**fields, "answers": ((low, high),)})
        self.outbox.settle(receipt)

    @rule(batches=st.integers(1, 4), rows=st.integers(1, 5), settled=st.integers(0, 4))
    def exchange(self, batches: int, rows: int, settled: int) -> None:
        """Several batches are under way at once; some of their receipts come back, in their order."""
        skip: dict[tuple[int, str], ranges.Ranges] = {}
        for _ in range(batches):
            found = self.outbox.next_batch(skip, rows)
            if found is None:
                break
            key = (found.epoch, found.stream)
            skip[key] = ranges.union(skip.get(key, ()), ((found.rows[0].seq, found.rows[-1].seq),))
            self.receipts.append(self.hub.receive(batch.encode(found)))
        self.outbox.settle(*self.receipts[:settled])
        del self.receipts[:settled]

    @rule(data=st.data())
    def live_twice(self, data: st.DataObject) -> None:
        """A copy of the disk is taken, life goes on, the copy comes back, and life goes on otherwise."""
        self.back_up()
        for then in (self.restore, lambda: None):
            self.append(data.draw(st.integers(0, 6)), data.draw(st.lists(st.sampled_from(RECORD_STREAMS), max_size=3)))
            self.exchange(data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5)), data.draw(st.integers(0, 4)))
            then()

    @precondition(lambda self: self.receipts)
    @rule()
    def lose_receipt(self) -> None:
        self.receipts.pop()

    @rule(rows=st.integers(1, 12))
    def shed(self, rows: int) -> None:
        before = self._on_disk()
        self.outbox.shed(rows)
        self.given_up |= before - self._on_disk()

    @rule()
    def keep_house(self) -> None:
        self.outbox.housekeep()

    @rule()
    def set_the_clock(self) -> None:
        self.clock.step(5_000_000)

    @rule(clean=st.booleans())
    def restart(self, *, clean: bool) -> None:
        self.store.close() if clean else self.store._release()
        self._start()

    @rule()
    def back_up(self) -> None:
        self.store.close()
        shutil.copy(self.folder / "lineside.db", self.folder / "copy")
        self.has_backup = True
        self._start()

    @precondition(lambda self: self.has_backup)
    @rule()
    def restore(self) -> None:
        self.store.close()
        shutil.copy(self.folder / "copy", self.folder / "lineside.db")
        self._start()
        # A restore takes longer than a message: nothing of the disk's other life is still under way.
        self.wire.clear()
        self.receipts.clear()
        self.given_up = self.made - self._archived() - self._on_disk()
        archived = self._archive()
        self.again |= {mark for mark, here in self._held() if mark in archived and here not in archived[mark]}

    @invariant()
    def every_row_is_somewhere_once(self) -> None:
        archived = self._archive()
        assert {mark for mark, places in archived.items() if len(places) > 1} <= self.again
        assert self.made - archived.keys() - self._on_disk() <= self.given_up

    @invariant()
    def every_number_is_accounted_for(self) -> None:
        for account in self.outbox.accounts():
            archived = self.hub.has(account.epoch, account.stream)
            known = ranges.union(ranges.union(archived, account.held), account.declared)
            assert ranges.subtract(((1, account.produced),), known) == ()
            assert ranges.intersect(account.held, account.declared) == ()

    def _archive(self) -> dict[str, set[Identity]]:
        """Under which identities the hub has each mark."""
        places: dict[str, set[Identity]] = {}
        for (epoch, stream), rows in self.hub.rows.items():
            for seq, content in rows.items():
                mark = content[-3] if stream == Stream.VERDICTS else _mark_of(content[-1])
                places.setdefault(mark, set()).add((epoch, stream, seq))
        places.pop("", None)
        return places

    def _archived(self) -> set[str]:
        return set(self._archive())

    def _on_disk(self) -> set[str]:
        return {mark for mark, _ in self._held()}

    def _held(self) -> list[tuple[str, Identity]]:
        """The marks of the rows that are held, on disk and not received, each with its identity."""
        found = []
        with self.store.reading() as connection:
            for account in self.outbox.accounts():
                for first, last in account.held:
                    bounds = row_id(account.epoch, first), row_id(account.epoch, last)
                    for row in fetch(connection, select_rows(account.stream), bounds):
                        mark = row[-3] if account.stream == Stream.VERDICTS else _mark_of(row[-1])
                        found.append((mark, (account.epoch, account.stream, row[0] & 2**32 - 1)))
        return [(mark, identity) for mark, identity in found if mark]

    def _drain(self) -> None:
        """Everything arrives from now on."""
        for _ in range(10_000):
            found = self.outbox.next_batch({}, 50)
            if found is None:
                return
            self.outbox.settle(self.hub.receive(batch.encode(found)))
        message = "the outbox does not drain"
        raise AssertionError(message)


def _mark_of(body: bytes) -> str:
    record = decode_record(body)
    return record.detail if isinstance(record, Fault) and record.part == "x" else ""


class LongLedger(Ledger):
    """
    The same, for longer.
    """


_QUICK = settings(max_examples=30, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))

TestLedger = Ledger.TestCase
TestLedger.settings = _QUICK

TestLongLedger = pytest.mark.slow(LongLedger.TestCase)
TestLongLedger.settings = settings(_QUICK, max_examples=400, stateful_step_count=40)
