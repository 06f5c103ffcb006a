import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.clock import FixedClock
from edge_agent.errors import StoreError
from edge_agent.inference.intake import Intake
from edge_agent.judgement import Judgement, Prediction, Region
from edge_agent.store import Store, StoreCorrupt
from edge_agent.telemetry import recorder as recorders
from edge_agent.telemetry.outbox import Outbox
from edge_agent.telemetry.recorder import Recorder
from edge_protocol.batch import Context
from edge_protocol.codes import Reason, Stream, Verdict
from edge_protocol.messages import AnyRecord, Fault, Metrics, Receipt, Uncertain, decode_record

ROOT = Path(__file__).parents[3]
SECOND_US = 1_000_000
CONTEXT = Context("surface")


class StubbornOutbox(Outbox):
    """An outbox whose disk is away while `error` is set."""

    error: StoreError | None = None
    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    def append(self, *what: Any) -> None:
        """Append, or fail."""
        if self.error is not None:
            self.meanwhile()
            raise self.error
        super().append(*what)


class Line:
    """A recorder with all it works with, and what it told."""

    def __init__(self, folder: Path, store: Store, clock: FixedClock) -> None:
        self.clock = clock
        self.outbox = StubbornOutbox(store, "press-1")
        self.intake = Intake.open(folder / "intake.ring", slots=64, boot="boot-1")
        self.told: list[Judgement] = []
        self.recorder = Recorder(
            self.outbox, self.intake, clock, commit_s=2.0, commit_rows=10, after_commit=self._after_commit
        )

    def judge(self, verdict: Verdict = Verdict.OK, *, urgent: bool = False) -> Judgement:
        """A part comes by."""
        trigger = self.intake.take(("surface",), self.clock.wall_us(), self.clock.mono_us())
        judgement = Judgement(trigger, "surface", CONTEXT, verdict, Reason.NONE, 0.5, 100)
        self.intake.answer(judgement)
        self.recorder.put(judgement, urgent=urgent)
        return judgement

    def events(self) -> list[AnyRecord]:
        """The events on record."""
        found = self.outbox.next_batch()
        assert found is None or found.stream == Stream.EVENTS
        return [decode_record(row.body) for row in found.records] if found else []  # type: ignore[misc]

    def _after_commit(self, judgements: Sequence[Judgement]) -> None:
        assert all(verdict.trigger in {j.trigger for j in judgements} for verdict in judgements)
        assert self.outbox.recorded(judgements) == {(j.trigger.n, j.pipeline) for j in judgements}
        self.told += judgements


@pytest.fixture
def line(tmp_path: Path, store: Store, clock: FixedClock) -> Iterator[Line]:
    """A line with a recorder."""
    line = Line(tmp_path, store, clock)
    yield line
    line.intake.close()


@pytest.fixture
def tell(line: Line) -> Callable[[int], None]:
    """Let seconds pass and step."""

    def wait(seconds: float) -> None:
        line.clock.advance(round(seconds * SECOND_US))
        line.recorder.step()

    return wait


def test_an_ok_waits_for_company(line: Line, tell: Callable[[float], None]):
    """
    An OK is committed with the others that came within the time, not before.
    """
    line.judge()
    tell(1.9)
    assert line.outbox.totals() == {}
    line.judge()

    tell(0.2)

    assert line.outbox.totals()["surface"]["OK"] == 2


def test_a_full_group_does_not_wait(line: Line):
    """
    As many rows as make a commit are committed at once.
    """
    for _ in range(10):
        assert not line.recorder.step()
        line.judge()

    assert line.recorder.step()


@pytest.mark.parametrize(
    ("verdict", "urgent"),
    [(Verdict.NG, False), (Verdict.REVIEW, False), (Verdict.OK, True), (Verdict.UNINSPECTED, True)],
)
def test_what_somebody_waits_for_is_committed_at_once(line: Line, verdict: Verdict, urgent: bool):  # noqa: FBT001
    """
    NG, REVIEW and what an output waits for are on disk with the next step, and take along what came before.
    """
    line.judge()
    line.judge(verdict, urgent=urgent)

    assert line.recorder.step()

    assert [judgement.verdict for judgement in line.told] == [Verdict.OK, verdict]


def test_a_slot_is_freed_after_the_commit_and_never_before(line: Line, tell: Callable[[float], None]):
    """
    Until a verdict is on disk the ring holds it; then it does not.
    """
    line.judge()
    line.judge()
    assert line.intake.open_slots == 2

    tell(3)

    assert line.intake.open_slots == 0
    assert len(line.told) == 2


def test_a_disk_that_is_away_keeps_everything(line: Line, tell: Callable[[float], None]):
    """
    While nothing can be committed nothing is settled or told; afterwards all of it is there once, in its order, and the
    fault is on record with its end.
    """
    line.outbox.error = StoreError("the disk is away")
    given = [line.judge(Verdict.NG)]
    tell(0)
    given.append(line.judge())
    line.recorder.record(Stream.METRICS, Metrics(values={}))
    tell(1.1)
    assert line.intake.open_slots == 2
    assert line.told == []

    line.outbox.error = None
    tell(1.1)

    assert line.told == given
    assert line.intake.open_slots == 0
    assert [(event.reason, event.active) for event in line.events() if isinstance(event, Fault)] == [
        ("StoreError", True),
        ("healed", False),
    ]


def test_what_comes_during_a_failed_commit_comes_after_it(line: Line, tell: Callable[[float], None]):
    """
    What could not be committed stays in front of what was put meanwhile.
    """
    line.outbox.error = StoreError("the disk is away")
    line.outbox.meanwhile = line.judge
    line.judge(Verdict.NG)
    tell(0)

    line.outbox.error = None
    tell(2)

    assert [judgement.verdict for judgement in line.told] == [Verdict.NG, Verdict.OK]


def test_what_waits_for_a_broken_disk_is_only_what_goes_on_record(line: Line):
    """Thousands of verdicts may wait, not what the model found in each of them: they come on record all the same."""
    found = Prediction(0.5, regions=(Region(np.zeros((999, 2), np.int32), 1.0, 1.0),))
    line.outbox.error = StoreError("the disk is away")
    before, during = (
        Judgement(line.judge().trigger, "surface", CONTEXT, Verdict.NG, Reason.NONE, 0.5, 100, prediction=found)
        for _ in range(2)
    )
    line.recorder.put(before)
    line.recorder.step()
    line.recorder.put(during)

    assert [each for each in line.recorder._judgements if each.prediction is not None] == []
    line.outbox.error = None
    line.clock.advance(2 * SECOND_US)
    assert line.recorder.flush()


def test_a_failed_commit_is_not_tried_again_at_once(line: Line, tell: Callable[[float], None]):
    """
    A disk that refuses is left alone for a moment.
    """
    line.outbox.error = StoreError("the disk is away")
    line.judge(Verdict.NG)
    tell(0)
    line.outbox.error = None

    tell(0.5)
    assert line.told == []

    tell(0.6)
    assert len(line.told) == 1


def test_a_damaged_database_ends_the_recorder_with_nothing_settled(line: Line):
    """
    Damage is the caller's to know: a restart salvages, and the ring still holds what is not on record.
    """
    line.outbox.error = StoreCorrupt("damaged")
    line.judge(Verdict.NG)

    with pytest.raises(StoreCorrupt):
        line.recorder.step()

    assert not line.recorder.flush()
    assert line.intake.open_slots == 1


def test_what_memory_cannot_hold_is_said(line: Line, tell: Callable[[float], None], monkeypatch: pytest.MonkeyPatch):
    """
    Beyond the bound verdicts are not kept, but the interval they lie in is on record.
    """
    monkeypatch.setattr(recorders, "MAX_WAITING", 3)
    line.outbox.error = StoreError("the disk is away")
    given = [line.judge() for _ in range(7)]
    tell(3)

    line.outbox.error = None
    tell(2)

    assert line.told == given[:3]
    (lost,) = [event for event in line.events() if isinstance(event, Uncertain)]
    assert (lost.first_trigger, lost.last_trigger) == (given[3].trigger.n, given[6].trigger.n)


def test_a_full_disk_costs_the_least_important(tmp_path: Path, clock: FixedClock):
    """
    When a commit finds no room, something is shed for it, and it is made.
    """
    store = Store.open(tmp_path / "small.db", quota_bytes=6 * 2**20, clock=clock)
    line = Line(tmp_path, store, clock)
    line.outbox.append([], [(Stream.METRICS, 1, Metrics(values={"x" * 1000: 1.0}))] * 1350)
    for _ in range(400):
        line.recorder.record(Stream.DRIFT, Metrics(values={"y" * 1000: 1.0}))

    assert line.recorder.flush()

    shed = {account.stream: account.declared for account in line.outbox.accounts()}
    assert shed["metrics"] != ()
    assert shed["drift"] == ()
    store.close()


def test_flush_leaves_nothing(line: Line):
    """
    After a flush everything is on record, due or not.
    """
    line.judge()
    line.recorder.record(Stream.DRIFT, Metrics(values={}))

    assert line.recorder.flush()
    assert line.recorder.waiting == 0
    assert len(line.told) == 1


def test_waiting_ends_when_something_is_due(line: Line):
    """
    Who waits for work is woken by an NG.
    """
    waiter = threading.Thread(target=line.recorder.wait, args=(30.0,))
    waiter.start()

    line.judge(Verdict.NG)

    waiter.join(5.0)
    assert not waiter.is_alive()


def test_idle_time_is_used_for_housekeeping(line: Line, tell: Callable[[float], None]):
    """
    A recorder with nothing to commit deletes what was kept long enough.
    """
    line.outbox._keep_rows = 0
    line.judge(Verdict.NG)
    tell(0)
    epoch = line.outbox.accounts()[0].epoch
    line.outbox.settle(Receipt(gateway="press-1", epoch=epoch, stream="verdicts", committed=((1, 1),)))

    tell(60)

    assert line.outbox.recent_verdicts() == []


_FULL_DISK = """
import os, sys
from pathlib import Path
from typing import Any
from edge_agent.clock import FixedClock
from edge_agent.inference.intake import Intake
from edge_agent.judgement import Judgement
from edge_agent.store import Store
from edge_agent.telemetry.outbox import Outbox
from edge_agent.telemetry.recorder import Recorder
from edge_protocol import ranges
from edge_protocol.batch import Context
from edge_protocol.codes import Reason, Verdict

folder, clock = Path(sys.argv[1]), FixedClock()
store = Store.open(folder / "lineside.db", quota_bytes=64 << 20, clock=clock)
outbox = Outbox(store, "press-1")
intake = Intake.open(folder / "intake.ring", slots=512, boot="boot-1")
recorder = Recorder(outbox, intake, clock)
junk = os.open(folder / "junk", os.O_CREAT | os.O_WRONLY)
for commit in range(200):
    if commit == 100:
        try:
            while True:
                os.write(junk, bytes(4096))
        except OSError:
            pass
    for _ in range(200):
        trigger = intake.take(("surface",), clock.wall_us(), clock.mono_us(), part="P" * 60)
        recorder.put(Judgement(trigger, "surface", Context("surface"), Verdict.OK, Reason.NONE, 0.5, 1))
    clock.advance(3_000_000)
    assert recorder.step(), commit
    assert intake.open_slots == 0
for account in outbox.accounts():
    assert ranges.union(account.held, account.declared) == ((1, account.produced),), account
    assert account.stream == "events" or account.declared, account
os.close(junk)
(folder / "junk").unlink()
outbox.housekeep()
assert store.room_bytes(0.5) > 0
store.close()
"""


def test_a_disk_that_others_filled_is_lived_with(tmp_path: Path):
    """
    On a full disk every commit succeeds, at the price of the oldest records, which are declared.
    """
    command = f'mount -t tmpfs -o size=14m tmpfs {tmp_path} && exec {sys.executable} -c "$0" {tmp_path}'
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a small disk of his own")

    done = subprocess.run(
        [*unshare, "sh", "-c", command, _FULL_DISK], check=False, capture_output=True, text=True, cwd=ROOT
    )

    assert done.returncode == 0, done.stderr
