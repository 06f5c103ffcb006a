import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_agent.clock import FixedClock
from edge_agent.errors import SourceError
from edge_agent.inference.intake import Intake
from edge_agent.inference.model import Model
from edge_agent.inference.pipeline import Pipeline
from edge_agent.judgement import Judgement
from edge_agent.monitoring.faults import Faults
from edge_agent.outputs.telegram import telegram
from edge_agent.sample import Channel, Sample, Trigger
from edge_agent.settings import TimerTrigger as TimerSettings
from edge_agent.sources.triggers import Tick, TimerTrigger
from edge_agent.station import MAX_MISSED, Station
from edge_protocol.codes import Reason, Stream, Verdict
from edge_protocol.messages import AnyRecord, Fault
from tests.edge_agent.inference import small_bundles

NEVER = threading.Event()
GOOD = np.sin(np.arange(small_bundles.LENGTH) / 3)


class Ticks:
    """A ticker that has what it was given."""

    def __init__(self, *ticks: Tick) -> None:
        self.ticks = list(ticks)
        self.idle = threading.Event()

    def poll(self, mono_us: int) -> Tick | None:
        return self.ticks.pop(0) if self.ticks else None

    def idle_s(self, mono_us: int) -> float:
        self.idle.set()
        return 0.001

    def close(self) -> None:
        pass


class Bench:
    """A source that gives what it was given, and remembers what became of it."""

    def __init__(self, *samples: Sample) -> None:
        self.samples = list(samples)
        self.opened = 0
        self.ended: list[tuple[int, Verdict]] = []
        self.away = 0
        self.is_full = False

    def open(self) -> None:
        self.opened += 1
        if self.away:
            self.away -= 1
            message = "the share is not mounted"
            raise SourceError(message)

    def waiting(self, mono_us: int) -> bool:
        return bool(self.samples)

    def grab(self, trigger: Trigger) -> Sample:
        return self.samples.pop(0) if self.samples else window(trigger.n)

    def done(self, trigger: Trigger, verdict: Verdict) -> None:
        self.ended.append((trigger.n, verdict))
        if self.is_full:
            message = "the disk is full"
            raise SourceError(message)

    def close(self) -> None:
        pass


def window(seed: int, **keys: str) -> Sample:
    """A good window, never the same twice."""
    return Sample({"signal": Channel(GOOD + np.random.default_rng(seed).normal(0, 0.01, GOOD.size), 0)}, **keys)  # type: ignore[arg-type]


class Place:
    """A station with two pipelines at one source, all of it real but the part and the clock."""

    def __init__(self, folder: Path, model: Model, *, slots: int = 4096) -> None:
        self.clock = FixedClock()
        self.intake = Intake.open(folder / "intake.ring", slots=slots, boot="boot-1", epoch=7)
        self.ticks = Ticks()
        self.source = Bench()
        self.judged: list[Judgement] = []
        self.events: list[AnyRecord] = []
        self.faults = Faults(self._record)
        self.pipelines = [
            Pipeline(name, model, guard=lambda _look: Reason.NONE, emit=self.judged.append, clock=self.clock)
            for name in ("left", "right")
        ]
        self.missed: list[int] = []
        self.station = Station(
            "belt", self.ticks, {"bench": self.source}, {"bench": self.pipelines},
            intake=self.intake, clock=self.clock, faults=self.faults, missed=self.missed.append,
        )  # fmt: skip

    def tick(self, missed: int = 0, stop: threading.Event = NEVER) -> bool:
        """A part comes, and everything is judged."""
        self.ticks.ticks.append(Tick(self.clock.mono_us(), missed))
        return self.step(stop)

    def step(self, stop: threading.Event = NEVER) -> bool:
        """One step of the station, then everything is judged."""
        took = self.station.step(stop)
        for pipeline in self.pipelines:
            while pipeline.step(0):
                pass
        return took

    def said(self) -> list[tuple[int, str, Verdict, Reason]]:
        """Every verdict so far."""
        return [(j.trigger.n, j.pipeline, j.verdict, j.reason) for j in self.judged]

    def _record(self, stream: Stream, record: AnyRecord) -> None:
        assert stream is Stream.EVENTS
        self.events.append(record)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model for windows."""
    return Model.load(small_bundles.write_window_bundle(tmp_path_factory.mktemp("bundle")))


@pytest.fixture
def place(tmp_path: Path, model: Model) -> Iterator[Place]:
    """A station."""
    place = Place(tmp_path, model)
    yield place
    place.intake.close()


def test_a_tick_is_one_trigger_for_each_pipeline(place: Place) -> None:
    """Every pipeline of a station answers each trigger once, and the ring knows of all of them."""
    for _ in range(3):
        place.tick()

    expected = [(n, name, Verdict.OK, Reason.NONE) for n in (1, 2, 3) for name in ("left", "right")]
    assert sorted(place.said()) == expected
    assert (place.station.taken["left"], place.intake.open_slots) == (3, 6)


def test_no_tick_is_no_trigger(place: Place) -> None:
    """When nothing is due, nothing is taken."""
    assert not place.step()
    assert (place.station.taken["left"], place.intake.open_slots) == (0, 0)


def test_a_missed_tick_is_a_part_that_passed(place: Place) -> None:
    """Ticks that found nobody ready are triggers too: UNINSPECTED/OVERLOAD, before the one that was seen."""
    place.tick(missed=2)

    left = [(n, verdict, reason) for n, pipeline, verdict, reason in place.said() if pipeline == "left"]
    assert left == [
        (1, Verdict.UNINSPECTED, Reason.OVERLOAD),
        (2, Verdict.UNINSPECTED, Reason.OVERLOAD),
        (3, Verdict.OK, Reason.NONE),
    ]
    assert place.missed == [2]


def test_a_real_timer_that_was_held_up_misses_no_part(place: Place) -> None:
    """When the station comes late to a timer, the parts of the meantime are UNINSPECTED and their sum is exact."""
    timer = TimerTrigger(TimerSettings(name="belt", rate_hz=20))
    place.station._ticker = timer
    place.step()

    place.clock.advance(1_000_000)
    place.step()

    verdicts = [verdict for _, pipeline, verdict, _ in place.said() if pipeline == "left"]
    assert verdicts == [Verdict.OK, *[Verdict.UNINSPECTED] * 19, Verdict.OK]


def test_a_machine_that_slept_says_so(place: Place) -> None:
    """Ticks of a sleep are no parts: beyond a thousand they are no triggers, and one event says how many."""
    place.tick(missed=MAX_MISSED + 500)

    assert place.station.taken["left"] == MAX_MISSED + 1
    assert [(e.reason, e.active) for e in place.events if isinstance(e, Fault)] == [
        ("ticks-skipped", True),
        ("ticks-skipped", False),
    ]
    assert "500 ticks" in str(place.events[0])


def test_a_bad_sample_still_has_its_verdicts(place: Place) -> None:
    """A source that has nothing for a trigger leaves both pipelines with UNINSPECTED and the source's reason."""
    place.source.samples = [Sample(fault=Reason.SOURCE_FAULT)]

    place.tick()

    assert {(verdict, reason) for _, _, verdict, reason in place.said()} == {(Verdict.UNINSPECTED, Reason.SOURCE_FAULT)}


@pytest.mark.parametrize("error", [SourceError("the share is gone"), ZeroDivisionError("a bug")])
def test_a_source_that_raises_still_has_its_verdicts(
    place: Place, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Whatever a source raises for a trigger that was taken: it is UNINSPECTED, and the next part is judged."""

    def fail(_trigger: Trigger) -> Sample:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(place.source, "grab", fail)
        place.tick()
    place.tick()

    left = [(n, verdict, reason) for n, pipeline, verdict, reason in place.said() if pipeline == "left"]
    assert left == [(1, Verdict.UNINSPECTED, Reason.SOURCE_FAULT), (2, Verdict.OK, Reason.NONE)]
    assert str(error) in place.judged[0].detail


def test_the_part_is_named_by_the_source(place: Place) -> None:
    """Part, product and lot of the sample stand with the verdict."""
    place.source.samples = [window(0, part="A-7", product="lid", lot="L1")]

    place.tick()

    assert {(j.trigger.part, j.trigger.product, j.trigger.lot) for j in place.judged} == {("A-7", "lid", "L1")}


def test_the_source_hears_the_worst_verdict_once(place: Place) -> None:
    """A part is done when its last pipeline has answered, and its verdict is the worst of them."""
    place.tick()
    left, right = place.judged

    place.station.answered(_with(left, Verdict.NG))
    before = list(place.source.ended)
    place.station.answered(_with(right, Verdict.UNINSPECTED))
    place.station.answered(_with(right, Verdict.OK))

    assert before == []
    assert place.source.ended == [(1, Verdict.NG)]


def test_a_verdict_of_an_earlier_process_is_not_ours(place: Place) -> None:
    """What was taken before a kill is told to the line and means nothing to the source that runs now."""
    place.tick()

    place.station.answered(_with(place.judged[0], Verdict.UNINSPECTED, n=99))

    assert place.source.ended == []


def test_a_part_that_cannot_be_put_away_is_a_fault_until_one_can(place: Place) -> None:
    """The line goes on when the source cannot file a part away; it is told once, and once when it is over."""
    for is_full in (True, True, False):
        place.source.is_full = is_full
        place.tick()
        for judgement in place.judged[-2:]:
            place.station.answered(judgement)

    faults = [
        (event.part, event.name, event.reason, event.active) for event in place.events if isinstance(event, Fault)
    ]
    assert faults == [
        ("source", "bench", "cannot-put-away", True),
        ("source", "bench", "cannot-put-away", False),
    ]


def test_a_full_ring_holds_the_line_and_skips_no_number(tmp_path: Path, model: Model) -> None:
    """While the recorder is behind no trigger is taken without a slot; when it comes up the next number follows."""
    place = Place(tmp_path, model, slots=2)
    place.tick()
    waiting = threading.Thread(target=place.tick)

    waiting.start()
    held = place.station.taken["left"]
    place.intake.settle(place.judged)
    waiting.join(10)

    assert (held, place.station.taken["left"]) == (1, 2)
    assert sorted({n for n, *_ in place.said()}) == [1, 2]
    place.intake.close()


def test_a_stop_while_the_ring_is_full_takes_nothing(tmp_path: Path, model: Model) -> None:
    """A tick that came when there was no room for it and the agent stops is no trigger without a verdict."""
    place = Place(tmp_path, model, slots=2)
    stop = threading.Event()
    stop.set()
    place.tick()

    place.tick(missed=3, stop=stop)

    assert (place.station.taken["left"], len(place.judged), place.intake.open_slots) == (1, 2, 2)
    place.intake.close()


class Away(Ticks):
    """A ticker whose source goes away for its first `times` polls."""

    times = 3

    def poll(self, mono_us: int) -> Tick | None:
        if self.times:
            self.times -= 1
            message = "the share is not mounted"
            raise SourceError(message)
        return super().poll(mono_us)


def test_a_source_that_goes_away_is_opened_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line waits for it, says so once, goes on when it works, not before, and says that too."""
    monkeypatch.setattr("edge_agent.station.REOPEN_S", 0.01)
    place.source.away = 1
    ticks = place.station._ticker = Away(Tick(1))
    stop = threading.Event()
    line = threading.Thread(target=place.station.run, args=(stop,))

    line.start()
    came_back = ticks.idle.wait(10)
    stop.set()
    line.join(10)

    assert came_back
    assert place.station.taken["left"] == 1
    assert place.source.opened == 3
    assert [(e.reason, e.active) for e in place.events if isinstance(e, Fault)] == [
        ("source-away", True),
        ("source-away", False),
    ]


def _with(judgement: Judgement, verdict: Verdict, n: int | None = None) -> Judgement:
    trigger = judgement.trigger
    own = Trigger(trigger.epoch, n or trigger.n, trigger.at_us, trigger.mono_us)
    return Judgement(own, judgement.pipeline, judgement.context, verdict, Reason.NONE, None, 1)


def test_a_part_is_called_what_the_line_calls_it(place: Place) -> None:
    """A tick may name part, product and lot; what the sample says of itself goes first, the rest stays."""
    place.source.samples = [window(1), window(2, part="P-7")]
    for _ in range(2):
        place.ticks.ticks.append(Tick(place.clock.mono_us(), part="T-1", product="seal", lot="L9"))
        place.step()

    called = {(j.trigger.n, j.trigger.part, j.trigger.product, j.trigger.lot) for j in place.judged}

    assert called == {(1, "T-1", "seal", "L9"), (2, "P-7", "seal", "L9")}


LONG = ("P" * 95 + "é" * 25, "Größe " * 20, "L" * 120)


@pytest.mark.parametrize("names", [LONG, ("\ud800" * 3, "", "")], ids=["long", "no unicode"])
def test_a_kill_does_not_change_what_a_part_is_called(place: Place, tmp_path: Path, names: tuple[str, ...]) -> None:
    """What the ring gives back after a kill is told in the very bytes in which it was told before."""
    part, product, lot = names
    place.source.samples = [window(1, part=part, lot=lot)]
    place.ticks.ticks.append(Tick(place.clock.mono_us(), product=product))
    place.step()
    for judgement in place.judged:
        place.intake.answer(judgement)

    left = Intake.open(tmp_path / "intake.ring", boot="boot-1").recover().answered

    assert {telegram(each) for each in left} == {telegram(each) for each in place.judged}
    assert len(left) == 2


def test_a_part_that_a_tick_has_named_keeps_its_name_through_a_kill(tmp_path: Path, place: Place) -> None:
    """Who fired the trigger finds the verdict of a part whose verdict was not on record under the name it gave."""
    place.ticks.ticks.append(Tick(place.clock.mono_us(), missed=1, part="T-1", product="seal", lot="L9"))
    place.step()

    left = Intake.open(tmp_path / "intake.ring", boot="boot-1").recover().unanswered

    assert {(j.trigger.n, j.trigger.part, j.trigger.product, j.trigger.lot) for j in left} == {
        (1, "", "", ""),
        (2, "T-1", "seal", "L9"),
    }
