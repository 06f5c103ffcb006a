import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as run_settings
from hypothesis import strategies as st

from edge_agent.clock import FixedClock
from edge_agent.inference.model import Model
from edge_agent.inference.numbering import MAX_HOLE, Lost, Numbering
from edge_agent.inference.pipeline import Pipeline
from edge_agent.judgement import Judgement
from edge_agent.monitoring.faults import Faults
from edge_agent.sample import Channel, Sample, Trigger
from edge_agent.sources.triggers import Tick
from edge_agent.station import Station
from edge_protocol.codes import Reason, Verdict
from tests.edge_agent.inference import small_bundles
from tests.edge_agent.test_recovery import Life

GOOD = np.sin(np.arange(small_bundles.LENGTH) / 3)
NEVER = threading.Event()


class Counting:
    """A source that counts its parts, and a ticker that says when it has one."""

    def __init__(self) -> None:
        self.number = 0

    def open(self) -> None:
        pass

    def waiting(self, mono_us: int) -> bool:
        return True

    def poll(self, mono_us: int) -> Tick | None:
        return Tick(mono_us)

    def idle_s(self, mono_us: int) -> float:
        return 0.0

    def grab(self, trigger: Trigger) -> Sample:
        self.number += 1
        values = GOOD + np.random.default_rng(self.number).normal(0, 0.01, GOOD.size)
        return Sample({"signal": Channel(values, 0)}, number=self.number)

    def done(self, trigger: Trigger, verdict: Verdict) -> None:
        pass

    def close(self) -> None:
        pass


class Gateway:
    """One life of a gateway at that source; it ends without a word."""

    def __init__(self, folder: Path, clock: FixedClock, boot: str, source: Counting, model: Model) -> None:
        self.life = Life(folder, clock, boot)
        self.life.recover()
        self.judged: list[Judgement] = []
        self.pipeline = Pipeline("seal", model, guard=lambda _look: Reason.NONE, emit=self._emit, clock=clock)
        store, outbox = self.life.store, self.life.outbox
        self.station = Station(
            "belt", source, {"bench": source}, {"bench": [self.pipeline]}, intake=self.life.intake, clock=clock,
            faults=Faults(lambda _stream, _record: None),
            recorded=lambda: {} if store.was_clean else outbox.numbers(),
        )  # fmt: skip

    def part(self, *, judge: bool) -> None:
        """A part comes; it is judged, or still on its way."""
        while self.pipeline._lane.free.empty():
            self.pipeline.step(0)
        self.station.step(NEVER)
        while judge and self.pipeline.step(0):
            pass

    def commit(self) -> None:
        """What was judged goes on record."""
        self.life.outbox.append(self.judged)
        self.life.intake.settle(self.judged)
        self.judged.clear()

    def _emit(self, judgement: Judgement) -> None:
        self.life.intake.answer(judgement)
        self.judged.append(judgement)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model for windows."""
    return Model.load(small_bundles.write_window_bundle(tmp_path_factory.mktemp("bundle")))


EVENTS = st.lists(st.sampled_from(["part", "open part", "lost part", "commit", "kill", "power cut"]), max_size=25)


@run_settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(events=["lost part", "part", "kill"])
@given(events=EVENTS)
def test_a_counted_part_has_its_verdict_once(model: Model, events: list[str]) -> None:
    """
    Whatever a source that counts its parts goes through, parts that never come, kills and power cuts at any moment:
    each number up to the last one stands on record, once.
    """
    with tempfile.TemporaryDirectory() as name:
        clock, source, boots = FixedClock(), Counting(), 1
        gateway = Gateway(Path(name), clock, "boot-1", source, model)
        gateway.part(judge=True)
        gateway.commit()
        for event in [*events, "part", "commit"]:
            if event in ("kill", "power cut"):
                gateway.life.die()
                boots += event == "power cut"
                gateway = Gateway(Path(name), clock, f"boot-{boots}", source, model)
            elif event == "commit":
                gateway.commit()
            elif event == "lost part":
                source.number += 1
            else:
                gateway.part(judge=event == "part")
        while gateway.pipeline.step(0):
            pass
        gateway.commit()
        recorded = Counter(row.part for row in gateway.life.outbox.recent_verdicts(1000))
        gateway.life.intake.close()
        gateway.life.store.close()

    assert recorded == {str(number): 1 for number in range(1, source.number + 1)}


def test_a_hole_while_the_line_runs_is_the_sources(model: Model, tmp_path: Path) -> None:
    """Parts that the numbers leave out are UNINSPECTED/SOURCE_FAULT under their numbers, before the next part."""
    source = Counting()
    gateway = Gateway(tmp_path, FixedClock(), "boot-1", source, model)
    gateway.part(judge=True)
    source.number += 2

    gateway.part(judge=True)

    said = [(j.trigger.part, j.reason, j.trigger.number) for j in gateway.judged if j.verdict is Verdict.UNINSPECTED]
    assert said == [("2", Reason.SOURCE_FAULT, 2), ("3", Reason.SOURCE_FAULT, 3)]
    assert [j.trigger.number for j in gateway.judged] == [1, 2, 3, 4]
    gateway.life.die()
    gateway.life.store.close()


def test_a_kill_among_lost_parts_loses_none(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that shows a hole, and a kill before the hole has its triggers: the next life gives them."""
    clock, source = FixedClock(), Counting()
    gateway = Gateway(tmp_path, clock, "boot-1", source, model)
    gateway.part(judge=True)
    gateway.commit()
    source.number += 2
    take, taken = gateway.life.intake.take, iter((True,))

    def die(*args: Any, **keys: Any) -> Trigger:
        if not next(taken, False):
            raise KeyboardInterrupt
        return take(*args, **keys)

    monkeypatch.setattr(gateway.life.intake, "take", die)
    with pytest.raises(KeyboardInterrupt):
        gateway.part(judge=True)
    gateway.life.die()
    gateway = Gateway(tmp_path, clock, "boot-1", source, model)

    gateway.part(judge=True)
    gateway.commit()

    recorded = {row.part for row in gateway.life.outbox.recent_verdicts(100)}
    assert recorded >= {str(number) for number in range(1, source.number + 1)}
    gateway.life.die()
    gateway.life.store.close()


def test_what_is_lost_at_one_source_is_no_trigger_of_another(model: Model, tmp_path: Path) -> None:
    """Two sources at one trigger: a hole in one's numbers counts for the pipelines that look at it, and no others."""
    gateway = Gateway(tmp_path, FixedClock(), "boot-1", Counting(), model)
    judged: list[Judgement] = []
    other = Pipeline("lid", model, guard=lambda _look: Reason.NONE, emit=judged.append, clock=FixedClock())
    sources = {"bench": Counting(), "side": Counting()}
    station = Station(
        "belt", sources["bench"], sources, {"bench": [gateway.pipeline], "side": [other]},
        intake=gateway.life.intake, clock=FixedClock(), faults=Faults(lambda _stream, _record: None),
    )  # fmt: skip
    station.step(NEVER)
    sources["bench"].number += 3
    station.step(NEVER)
    for pipeline in (gateway.pipeline, other):
        while pipeline.step(0):
            pass

    assert station.taken == {"seal": len(gateway.judged), "lid": len(judged)} == {"seal": 5, "lid": 2}
    gateway.life.die()
    gateway.life.store.close()


def test_after_a_stop_in_order_nothing_is_missing() -> None:
    """What passed while nobody asked for verdicts is no part of ours."""
    assert Numbering().next(500, ["seal"]) == ([], 0)


def test_each_pipeline_misses_its_own() -> None:
    """Where one pipeline's records are behind another's, each is given what it lacks."""
    numbering = Numbering(lambda: {"left": 7, "right": 5})

    lost, beyond = numbering.next(9, ["left", "right", "new"])

    assert lost == [
        Lost(6, ("right",), Reason.INTERRUPTED),
        Lost(7, ("right",), Reason.INTERRUPTED),
        Lost(8, ("left", "right"), Reason.INTERRUPTED),
    ]
    assert beyond == 0


@pytest.mark.parametrize("number", [6, 7, 1, -3])
def test_a_number_that_comes_again_is_no_hole(number: int) -> None:
    """A part delivered twice, or numbers that begin anew, leave nothing out; the count goes on from there."""
    numbering = Numbering(lambda: {"seal": 7})

    assert numbering.next(number, ["seal"]) == ([], 0)
    assert numbering.next(number + 2, ["seal"]) == ([Lost(number + 1, ("seal",), Reason.SOURCE_FAULT)], 0)


def test_a_hole_without_end_is_bounded() -> None:
    """A counter that jumps by a million makes no million triggers; how many there were beyond is said."""
    numbering = Numbering(lambda: {"seal": 0})

    lost, beyond = numbering.next(1_000_001, ["seal"])

    assert [each.number for each in lost] == list(range(1, MAX_HOLE + 1))
    assert beyond == 1_000_000 - MAX_HOLE
