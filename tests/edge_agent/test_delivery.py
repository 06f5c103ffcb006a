import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge_agent import settings
from edge_agent.clock import FixedClock
from edge_agent.delivery import Delivery
from edge_agent.inference.intake import Intake
from edge_agent.judgement import Judgement
from edge_agent.outputs.http import HttpOutput
from edge_agent.outputs.output import letter, outcome
from edge_agent.outputs.webhook import Webhook
from edge_agent.store import Store
from edge_agent.telemetry.outbox import Outbox
from edge_agent.telemetry.recorder import Recorder
from edge_protocol.batch import Context
from edge_protocol.codes import Reason, Verdict
from edge_protocol.messages import Outcome

CONTEXT = {name: Context(name) for name in ("seal", "lid")}
NOW = 0.0


@dataclass
class Lamp:
    """An output that remembers what it was told; `works` says whether that succeeds."""

    name: str
    after_commit: bool = False
    works: bool = True
    told: list[int] = field(default_factory=list)
    beats: list[list[str]] = field(default_factory=list)

    def open(self) -> None:
        pass

    def send(self, judgement: Judgement) -> Outcome:
        self.told.append(judgement.trigger.n)
        return outcome(self.name, judgement, 0.0, "" if self.works else "no answer")

    def settled(self) -> Sequence[Outcome]:
        return ()

    def beat(self, mono_us: int, alive: Collection[str]) -> None:
        self.beats.append(list(alive))

    def close(self) -> None:
        pass


@dataclass
class Letterbox(Lamp):
    """An output that knows only later what became of a verdict; at the end it knows of all."""

    under_way: list[Judgement] = field(default_factory=list)
    is_emptied: bool = False

    def send(self, judgement: Judgement) -> Outcome | None:  # type: ignore[override]
        self.under_way.append(judgement)
        return None

    def settled(self) -> Sequence[Outcome]:
        known = [outcome(self.name, each, 0.0) for each in self.under_way if self.is_emptied]
        self.under_way = [] if self.is_emptied else self.under_way
        return known

    def close(self) -> None:
        self.is_emptied = True


class Desk:
    """A delivery with a real ring, recorder and database behind it."""

    def __init__(self, folder: Path) -> None:
        self.clock = FixedClock()
        self.store = Store.open(folder / "lineside.db", quota_bytes=16 * 2**20, clock=self.clock)
        self.outbox = Outbox(self.store, "press-1")
        self.intake = Intake.open(folder / "intake.ring", boot="boot-1", epoch=7)
        self.lamp, self.safe, self.other = Lamp("lamp"), Lamp("safe", after_commit=True), Lamp("other")
        self.answered: list[int] = []
        self.outcomes: list[Outcome] = []
        self.recorder = recorder = Recorder(self.outbox, self.intake, self.clock, after_commit=self._committed)
        self.delivery = Delivery(
            {"seal": [self.lamp, self.safe], "lid": [self.other]},
            intake=self.intake, recorder=recorder, clock=self.clock,
            answered=lambda judgement: self.answered.append(judgement.trigger.n), told=self.outcomes.append,
        )  # fmt: skip

    def judge(self, pipeline: str = "seal", verdict: Verdict = Verdict.OK) -> Judgement:
        """Take a trigger and give its verdict."""
        trigger = self.intake.take([pipeline], self.clock.wall_us(), self.clock.mono_us())
        judgement = Judgement(trigger, pipeline, CONTEXT[pipeline], verdict, Reason.NONE, 0.1, 500)
        self.delivery.emit(judgement)
        return judgement

    def tell(self, times: int = 1) -> None:
        """Let the line be told so many times."""
        for _ in range(times):
            assert self.delivery.step(lambda: ["seal", "lid"], NOW)

    def _committed(self, judgements: Sequence[Judgement]) -> None:
        self.delivery.committed(judgements)

    def close(self) -> None:
        """End."""
        self.intake.close()
        self.store.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A delivery at work."""
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def test_a_verdict_is_in_the_ring_before_anybody_hears_it(desk: Desk, tmp_path: Path) -> None:
    """A kill right after `emit` finds the true verdict, though neither the line nor the disk has it."""
    judgement = desk.judge(verdict=Verdict.NG)

    after_a_kill = Intake.open(tmp_path / "intake.ring", boot="boot-1").recover()

    assert [(j.trigger.n, j.verdict) for j in after_a_kill.answered] == [(judgement.trigger.n, Verdict.NG)]
    assert desk.lamp.told == []


def test_the_line_is_told_each_verdict_once_in_order(desk: Desk) -> None:
    """Each pipeline's outputs hear its verdicts and no others, and the source hears after the line."""
    for pipeline in ("seal", "lid", "seal"):
        desk.judge(pipeline)

    desk.tell(3)

    assert (desk.lamp.told, desk.other.told, desk.answered) == ([1, 3], [2], [1, 2, 3])


def test_what_waits_for_the_commit_hears_after_it(desk: Desk) -> None:
    """An output that may only tell what is safe on disk hears nothing before, and everything after the commit."""
    desk.judge()
    desk.tell()
    before = list(desk.safe.told)

    desk.recorder.flush()
    desk.tell()

    assert (before, desk.safe.told, desk.lamp.told) == ([], [1], [1])


def test_what_an_output_waits_for_is_committed_at_once(desk: Desk) -> None:
    """An OK that somebody waits for does not wait for the commit of the group; another one does."""
    desk.judge("lid")
    waits = desk.recorder.step()

    desk.judge("seal")
    hurries = desk.recorder.step()

    assert (waits, hurries) == (False, True)


def test_each_attempt_leaves_an_outcome(desk: Desk) -> None:
    """A line that cannot be told is a record with the reason, the verdict stands, and the next one is tried."""
    desk.lamp.works = False
    desk.judge()
    desk.judge()

    desk.tell(2)
    desk.recorder.flush()

    assert [(o.trigger, o.output, o.ok, o.detail) for o in desk.outcomes] == [
        (1, "lamp", False, "no answer"),
        (2, "lamp", False, "no answer"),
    ]
    produced = {account.stream: account.produced for account in desk.outbox.accounts()}
    assert produced == {"verdicts": 2, "outcomes": 2}


def test_a_verdict_that_a_kill_kept_back_is_told_to_all(desk: Desk) -> None:
    """After a kill both kinds of outputs hear what only the record has, and it is not put on record again."""
    trigger = desk.intake.take(["seal"], 0, 0)
    judgement = Judgement(trigger, "seal", CONTEXT["seal"], Verdict.UNINSPECTED, Reason.INTERRUPTED, None, 0)

    desk.delivery.resume((), [judgement])
    desk.tell(2)
    desk.recorder.flush()

    assert (desk.lamp.told, desk.safe.told) == ([1], [1])
    assert desk.outbox.totals() == {}


def test_what_an_output_owes_comes_by_its_letters_alone(desk: Desk) -> None:
    """After a kill an output is told by its letters and not by the ring; those of one that is no more have failed."""
    sender = HttpOutput(
        settings.HttpOutput(name="mes", url="http://127.0.0.1:9/"), Webhook("", 1, None, None), "press-1"
    )
    desk.delivery._outputs = {"seal": [desk.lamp, sender]}
    desk.delivery._senders = {"mes": sender}
    trigger = desk.intake.take(["seal"], 0, 0)
    judgement = Judgement(trigger, "seal", CONTEXT["seal"], Verdict.UNINSPECTED, Reason.INTERRUPTED, None, 0)

    desk.delivery.resume((), [judgement], [letter("mes", judgement), letter("gone", judgement)])
    desk.tell(2)

    assert [errand.letter for errand in sender._errands] == [letter("mes", judgement)]
    assert desk.lamp.told == [1]
    failed = [each for each in desk.outcomes if each.output == "gone"]
    assert [(each.trigger, each.ok, each.pipeline) for each in failed] == [(1, False, "seal")]
    assert failed[0].detail == "the agent ended before it was on record, and this output is no more"


def test_what_is_known_later_is_recorded_when_it_is_known(desk: Desk) -> None:
    """A verdict under way has no outcome, holds up neither the source nor the next one, and gets its outcome once."""
    box = Letterbox("box")
    desk.delivery._outputs = {"seal": [box]}
    desk.delivery._distinct = [box]
    desk.judge()
    desk.tell()
    before = list(desk.outcomes)
    box.is_emptied = True

    desk.delivery.step(list, NOW)
    desk.delivery.step(list, NOW)

    assert (before, desk.answered) == ([], [1])
    assert [(o.trigger, o.output, o.ok) for o in desk.outcomes] == [(1, "box", True)]


def test_the_end_leaves_no_verdict_without_its_outcome(desk: Desk) -> None:
    """What is under way when the agent stops is settled before the last records are written."""
    box = Letterbox("box")
    desk.delivery._outputs = {"seal": [box]}
    desk.delivery._distinct = [box]
    desk.judge()
    desk.delivery.close()

    desk.delivery.run(list)

    assert [(o.trigger, o.output) for o in desk.outcomes] == [(1, "box")]


def test_the_heartbeat_names_who_is_alive(desk: Desk) -> None:
    """Outputs are asked for a sign of life with and without verdicts, and a dead pipeline is not named."""
    desk.delivery.step(lambda: ["seal", "lid"], NOW)
    desk.judge()
    desk.delivery.step(list, NOW)

    assert desk.lamp.beats == [["seal", "lid"], []]
    assert desk.other.beats == [["seal", "lid"], []]


def test_the_end_comes_after_the_last_verdict(desk: Desk) -> None:
    """`close` lets everything given so far be told, then `run` ends."""
    for _ in range(5):
        desk.judge()
    desk.delivery.close()

    teller = threading.Thread(target=desk.delivery.run, args=(list,))
    teller.start()
    teller.join(10)

    assert not teller.is_alive()
    assert desk.lamp.told == [1, 2, 3, 4, 5]
