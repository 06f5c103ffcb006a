from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge_agent.clock import FixedClock
from edge_agent.inference import intake as intakes
from edge_agent.inference.intake import Intake
from edge_agent.judgement import Judgement
from edge_agent.recovery import Recovered, recover
from edge_agent.store import Store, fetch
from edge_agent.telemetry.outbox import Outbox
from edge_protocol.batch import Context
from edge_protocol.codes import ClockState, Reason, Verdict
from edge_protocol.messages import Fault, Gap, Started, Uncertain, decode_record

CONTEXT = Context("seal", "tiles", "1", b"d" * 32, "fp32", b"o" * 32)


@dataclass
class Life:
    """One process of a gateway, by hand; it ends without a word, as after a kill."""

    folder: Path
    clock: FixedClock
    boot: str = "boot-1"

    def __post_init__(self) -> None:
        self.store = Store.open(self.folder / "lineside.db", quota_bytes=16 * 2**20, clock=self.clock)
        self.outbox = Outbox(self.store, "press-1")
        after, _ = self.outbox.last_verdict()
        path = self.folder / "intake.ring"
        owed_from = self.outbox.owed_from()
        self.intake = Intake.open(
            path, boot=self.boot, epoch=self.store.epoch, after=after, owed_from=owed_from, slots=64
        )

    def recover(self, *running: str) -> Recovered:
        """Put on record what the life before has left; `running` are the pipelines of this one."""
        return recover(self.store, self.outbox, self.intake, self.clock, running)

    def judge(self, verdict: Verdict = Verdict.OK) -> Judgement:
        """Take a part and answer it."""
        judgement = self.take(verdict)
        self.intake.answer(judgement)
        return judgement

    def take(self, verdict: Verdict = Verdict.OK) -> Judgement:
        """Take a part; the answer that it would have had."""
        trigger = self.intake.take(["seal"], self.clock.wall_us(), self.clock.mono_us())
        return Judgement(trigger, "seal", CONTEXT, verdict, Reason.NONE, 0.25, 700)

    def verdicts(self) -> list[tuple[int, str, str]]:
        """What is on record, by trigger."""
        found = self.outbox.recent_verdicts(1000)
        return sorted((row.trigger, row.verdict, row.reason) for row in found)

    def events(self) -> list[Any]:
        """The events, oldest first."""
        with self.store.reading() as connection:
            return [decode_record(body) for (body,) in fetch(connection, "SELECT body FROM events ORDER BY id")]

    def finish(self) -> None:
        """A stop in order."""
        self.intake.close()
        self.store.finish()
        self.store.close()

    def die(self) -> None:
        """A kill: the kernel gives back the lock and keeps what was written, nobody tidies up."""
        self.intake._memory.flush()
        self.intake._header.release()
        self.intake._memory.close()
        self.store._release()


@pytest.fixture
def lives(tmp_path: Path) -> Iterator["Lives"]:
    """A gateway that can be killed and started again."""
    lives = Lives(tmp_path)
    yield lives
    for life in lives.all:
        life.intake.close()
        life.store.close()


class Lives:
    """The processes of one gateway, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FixedClock()
        self.all: list[Life] = []

    def start(self, boot: str = "boot-1") -> Life:
        """The next one."""
        self.clock.advance(1_000_000)
        life = Life(self.folder, self.clock, boot)
        self.all.append(life)
        return life


def test_a_kill_leaves_no_trigger_open(lives: Lives) -> None:
    """Given verdicts are recorded as they were, open triggers as UNINSPECTED/INTERRUPTED; the ring is free again."""
    first = lives.start()
    first.judge(Verdict.NG)
    first.take()
    first.judge(Verdict.OK)
    first.die()

    second = lives.start()
    recovered = second.recover()

    assert second.verdicts() == [
        (1, "NG", "NONE"),
        (2, "UNINSPECTED", "INTERRUPTED"),
        (3, "OK", "NONE"),
    ]
    assert [j.trigger.n for j in recovered.unanswered] == [2]
    assert [j.trigger.n for j in recovered.answered] == [1, 3]
    assert second.intake.open_slots == 0


def test_a_kill_between_commit_and_ring_records_nothing_twice(lives: Lives) -> None:
    """A verdict whose row is there and whose slot is still taken stays one verdict, and is told nobody again."""
    first = lives.start()
    judged = first.judge(Verdict.NG)
    first.outbox.append([judged])
    first.die()

    second = lives.start()
    recovered = second.recover()

    assert second.verdicts() == [(1, "NG", "NONE")]
    assert recovered == Recovered((), ())


def test_a_kill_in_the_middle_of_recovery_is_recovered(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after its commit and before the ring is freed, the next start finds all on record and doubles nothing."""
    first = lives.start()
    first.judge()
    first.take()
    first.die()
    second = lives.start()
    with monkeypatch.context() as patch:
        patch.setattr(intakes.Intake, "settle", lambda _self, _judgements: None)
        second.recover()
    second.die()

    third = lives.start()
    recovered = third.recover()

    assert third.verdicts() == [(1, "OK", "NONE"), (2, "UNINSPECTED", "INTERRUPTED")]
    assert recovered == Recovered((), ())


def test_numbers_go_on_after_a_kill(lives: Lives) -> None:
    """No trigger number is ever given twice."""
    first = lives.start()
    first.judge()
    first.take()
    first.die()

    second = lives.start()
    second.recover()

    assert second.take().trigger.n == 3


def test_after_a_power_cut_the_ring_is_not_believed(lives: Lives) -> None:
    """Another boot: no verdict is made up of it, one event says what is uncertain, no number is reused."""
    first = lives.start()
    first.outbox.append([first.judge()])
    first.take()
    last_us = first.outbox.last_verdict()[1]
    first.die()

    second = lives.start(boot="boot-2")
    second.recover()

    assert second.verdicts() == [(1, "OK", "NONE")]
    uncertain = [event for event in second.events() if isinstance(event, Uncertain)]
    assert [(e.first_trigger, e.last_trigger, e.reason) for e in uncertain] == [(2, 66, "power-cut")]
    assert (uncertain[0].from_us, uncertain[0].to_us) == (last_us, lives.clock.wall_us())
    assert second.take().trigger.n == 67


def test_a_power_cut_leaves_nothing_before_the_last_record_untold(lives: Lives) -> None:
    """What was still owed when a later part went on record is among the uncertain ones, and so is its time."""
    first = lives.start()
    told = first.judge()
    first.outbox.append([told], (), first.intake.owed_from([told]))
    first.intake.settle([told])
    lives.clock.advance(1_000_000)
    first.take()
    later = first.judge()
    first.outbox.append([later], (), first.intake.owed_from([later]))
    first.die()

    second = lives.start(boot="boot-2")
    second.recover()

    assert [trigger for trigger, *_ in second.verdicts()] == [1, 3]
    uncertain = [event for event in second.events() if isinstance(event, Uncertain)]
    assert [(e.first_trigger, e.from_us) for e in uncertain] == [(2, told.trigger.at_us)]


def test_a_reboot_in_order_is_certain(lives: Lives) -> None:
    """A machine that was shut down in order has nothing uncertain, and numbers go on without a hole."""
    first = lives.start()
    judged = first.judge()
    first.outbox.append([judged])
    first.intake.settle([judged])
    first.finish()

    second = lives.start(boot="boot-2")
    second.recover()

    assert not [event for event in second.events() if isinstance(event, Uncertain)]
    assert second.take().trigger.n == 2


def test_each_start_says_how_the_last_run_ended(lives: Lives) -> None:
    """`started` tells clean from unclean and how many verdicts were saved."""
    first = lives.start()
    first.recover()
    first.take()
    first.die()
    second = lives.start()
    second.recover()
    second.finish()
    third = lives.start()
    third.recover()

    started = [(e.clean, e.recovered) for e in third.events() if isinstance(e, Started)]
    assert started == [(True, 0), (False, 1), (True, 0)]


def test_a_clock_behind_is_said_at_the_start(lives: Lives) -> None:
    """A gateway whose clock stands before its floor says so with its first event, and runs."""
    lives.clock.step(-20 * 365 * 86_400_000_000)

    life = lives.start()
    life.recover()

    assert [e.clock for e in life.events() if isinstance(e, Started)] == [ClockState.BEHIND]


def test_a_damaged_database_is_declared_and_named(lives: Lives) -> None:
    """What could not be saved is a gap, and one event says why and where the old file lies."""
    first = lives.start()
    for _ in range(8):
        judged = [first.judge() for _ in range(50)]
        first.outbox.append(judged)
        first.intake.settle(judged)
    epoch = first.store.epoch
    with first.store.reading() as connection:
        (page,) = fetch(connection, "SELECT rootpage FROM sqlite_schema WHERE name = 'verdicts'")[0]
        connection.pragma("wal_checkpoint", "TRUNCATE")
    first.die()
    path = lives.folder / "lineside.db"
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    (lives.folder / "lineside.suspect").write_text("a page is damaged")

    second = lives.start()
    second.recover()

    gaps = [e for e in second.events() if isinstance(e, Gap)]
    faults = [e for e in second.events() if isinstance(e, Fault) and e.reason == "salvaged"]
    assert second.store.epoch != epoch
    assert [(g.epoch, g.stream, g.first, g.last) for g in gaps] == [(epoch, "verdicts", 1, 400)]
    assert len(faults) == 1
    assert "quarantine/" in faults[0].detail
    assert second.take().trigger.n == 401


def test_a_database_that_is_lost_as_a_whole_is_said(lives: Lives) -> None:
    """When nothing can be saved, one event names the triggers without a record, and numbers go on behind them."""
    first = lives.start()
    judged = [first.judge() for _ in range(5)]
    first.outbox.append(judged)
    first.intake.settle(judged)
    first.judge()
    first.die()
    (lives.folder / "lineside.db").write_bytes(b"\0" * 65536)
    (lives.folder / "lineside.db-wal").unlink(missing_ok=True)

    second = lives.start()
    second.recover()

    assert second.verdicts() == [(6, "OK", "NONE")]
    uncertain = [(e.first_trigger, e.last_trigger, e.reason) for e in second.events() if isinstance(e, Uncertain)]
    assert uncertain == [(1, 5, "store-damaged")]
    assert second.take().trigger.n == 7
