import random
import signal
import subprocess
import sys
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

from edge_agent.clock import Clock, FixedClock
from edge_agent.inference.intake import Intake
from edge_agent.inference.model import Model
from edge_agent.inference.numbering import MAX_HOLE, Lost, Numbering
from edge_agent.inference.pipeline import Pipeline
from edge_agent.judgement import Judgement
from edge_agent.monitoring.faults import Faults
from edge_agent.outputs.telegram import telegram
from edge_agent.sample import Channel, Sample, Trigger
from edge_agent.station import Station
from edge_agent.store import fetch, read_only
from edge_protocol.codes import Reason, Verdict
from tests.edge_agent.counted import Counted
from tests.edge_agent.inference import small_bundles
from tests.edge_agent.test_recovery import Life

ROOT = Path(__file__).parents[2]
GOOD = np.sin(np.arange(small_bundles.LENGTH) / 3)
NEVER = threading.Event()


class Killed(BaseException):
    """The process ends here."""


class Counting(Counted):
    """A source that counts its parts, and a ticker for it. `kills`: when the gateway ends."""

    def __init__(self) -> None:
        self.number = 0
        self.kills = ""

    def grab(self, trigger: Trigger) -> Sample:
        if self.kills == "before the part":
            raise Killed
        self.number += 1
        if self.kills == "after the part":
            raise Killed
        values = GOOD + np.random.default_rng(self.number).normal(0, 0.01, GOOD.size)
        return Sample({"signal": Channel(values, 0)}, number=self.number)


class Gateway:
    """One life of a gateway at that source; it ends without a word."""

    def __init__(self, folder: Path, clock: FixedClock, boot: str, source: Counting, model: Model) -> None:
        self.life = Life(folder, clock, boot)
        recovered = self.life.recover("seal")
        self.judged: list[Judgement] = []
        self.pipeline = Pipeline("seal", model, guard=lambda _look: Reason.NONE, emit=self._emit, clock=clock)
        store, outbox = self.life.store, self.life.outbox
        self.station = Station(
            "belt", source, {"bench": source}, {"bench": [self.pipeline]}, intake=self.life.intake, clock=clock,
            faults=Faults(lambda _stream, _record: None),
            recorded=lambda: {} if store.was_clean else outbox.numbers(),
        )  # fmt: skip
        self.station.resume(recovered.left)

    def part(self, *, judge: bool) -> None:
        """A part comes; it is judged, or still on its way."""
        while self.pipeline._lane.free.empty():
            self.pipeline.step(0)
        self.station.step(NEVER)
        while judge and self.pipeline.step(0):
            pass

    def end(self) -> None:
        """The line stops in order."""
        stop = threading.Event()
        stop.set()
        self.station.run(stop)
        while self.pipeline.step(0):
            pass
        self.commit()

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


KILLS = ("kill", "power cut", "before the part", "after the part")
EVENTS = st.lists(st.sampled_from(["part", "open part", "lost part", "commit", *KILLS]), max_size=25)


@run_settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(events=["lost part", "part", "kill"])
@example(events=["after the part"])
@example(events=["before the part", "after the part", "lost part"])
@example(events=["lost part", "after the part", "after the part", "kill", "part"])
@given(events=EVENTS)
def test_a_counted_part_has_its_verdict_once(model: Model, events: list[str]) -> None:
    """
    Whatever a source that counts its parts goes through, parts that never come, kills and power cuts at any moment:
    each number up to the last one stands on record once, each trigger once, and a part that was there has no second
    verdict without its number.
    """
    with tempfile.TemporaryDirectory() as name:
        clock, source, boots = FixedClock(), Counting(), 1
        gateway = Gateway(Path(name), clock, "boot-1", source, model)
        gateway.part(judge=True)
        gateway.commit()
        for event in [*events, "part", "commit"]:
            if event in KILLS:
                source.kills = event
                if event.endswith("the part"):
                    with pytest.raises(Killed):
                        gateway.part(judge=False)
                source.kills = ""
                gateway.life.die()
                boots += event == "power cut"
                gateway = Gateway(Path(name), clock, f"boot-{boots}", source, model)
            elif event == "commit":
                gateway.commit()
            elif event == "lost part":
                source.number += 1
            else:
                gateway.part(judge=event == "part")
        gateway.end()
        rows, open_slots = gateway.life.outbox.recent_verdicts(1000), gateway.life.intake.open_slots
        gateway.life.intake.close()
        gateway.life.store.close()

    assert Counter(row.part for row in rows if row.part) == {str(n): 1 for n in range(1, source.number + 1)}
    assert (len({row.trigger for row in rows}), open_slots) == (len(rows), 0)
    assert len([row for row in rows if not row.part]) <= events.count("before the part")


def live(folder: Path, moment: str, parts: int = 5) -> subprocess.Popen[bytes]:
    """A process of a line that counts its parts."""
    child = Path(__file__).with_name("counting_child.py")
    command = [sys.executable, str(child), str(folder), moment, str(parts)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env={"PYTHONPATH": str(ROOT)})
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.stdout.close()
    return process


def check_counted(folder: Path, before_the_part: int = 0) -> None:
    """Each number the source gave or left out stands on record once, and so does each trigger.

    So many triggers at most are without one: a kill came before they had their part.
    """
    with read_only(folder / "lineside.db") as connection:
        rows = fetch(connection, "SELECT trigger, part FROM verdicts")
    clock = Clock()
    ring = Intake.open(folder / "intake.ring", boot=clock.time().boot)
    taken, open_slots = ring.recover().next_n - 1, ring.open_slots
    ring.close()

    numbers = Counter(part for _, part in rows)
    assert numbers.pop("", 0) <= before_the_part
    assert numbers == {str(n): 1 for n in range(1, int((folder / "number").read_text()) + 1)}
    assert sorted(trigger for trigger, _ in rows) == list(range(1, taken + 1))
    assert open_slots == 0


def test_no_moment_of_a_kill_gives_a_part_two_verdicts(tmp_path: Path) -> None:
    """Killed between a part's grab and its number's note, or among those lost before it: one verdict each."""
    small_bundles.write_window_bundle(tmp_path / "bundle")

    for moment in ("noted", "grabbed", "grabbed", "hole taken", "hole noted"):
        assert live(tmp_path, moment).wait(60) == -signal.SIGKILL
    assert live(tmp_path, "in order").wait(60) == 0

    check_counted(tmp_path)


@pytest.mark.slow
def test_a_part_has_one_verdict_whenever_the_kill_comes(tmp_path: Path) -> None:
    """Killed thirty times at a moment that nobody decides: each number once, each trigger once."""
    chance = random.Random(3)  # noqa: S311 (a nemesis, no secret)
    small_bundles.write_window_bundle(tmp_path / "bundle")

    kills = 30
    for _ in range(kills):
        child = live(tmp_path, "at any moment", 10**9)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(chance.uniform(0.0, 0.3))
        child.kill()
        child.wait()
    assert live(tmp_path, "in order").wait(60) == 0

    check_counted(tmp_path, kills)


def test_what_passes_after_a_stop_in_order_is_no_part_of_ours(tmp_path: Path) -> None:
    """Nor is it when the first part after it meets a kill: the old number is forgotten with the stop."""
    small_bundles.write_window_bundle(tmp_path / "bundle")
    assert live(tmp_path, "in order").wait(60) == 0
    before = int((tmp_path / "number").read_text())
    (tmp_path / "number").write_text("00009999")

    assert live(tmp_path, "grabbed", 1).wait(60) == -signal.SIGKILL
    assert live(tmp_path, "in order").wait(60) == 0

    with read_only(tmp_path / "lineside.db") as connection:
        parts = [part for (part,) in fetch(connection, "SELECT part FROM verdicts ORDER BY trigger")]
    assert [int(part) for part in parts if part and before < int(part) < 10_001] == []
    assert parts.count("") == 1


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


@pytest.mark.parametrize("kills", ["before the part", "after the part"])
def test_what_a_kill_left_keeps_its_words_through_another(model: Model, tmp_path: Path, kills: str) -> None:
    """A trigger without a number is told under its own time, in the bytes that the ring would give after a kill."""
    clock, source = FixedClock(), Counting()
    gateway = Gateway(tmp_path, clock, "boot-1", source, model)
    gateway.part(judge=True)
    gateway.commit()
    source.kills = kills
    taken_us = clock.wall_us()
    with pytest.raises(Killed):
        gateway.part(judge=False)
    source.kills = ""
    gateway.life.die()
    clock.advance(3_600_000_000)
    gateway = Gateway(tmp_path, clock, "boot-1", source, model)

    gateway.part(judge=True)

    again = Intake.open(tmp_path / "intake.ring", boot="boot-1", epoch=gateway.life.store.epoch).recover().answered
    told = sorted(gateway.judged, key=lambda judgement: judgement.trigger.n)
    assert [telegram(each) for each in again] == [telegram(each) for each in told]
    assert [each.trigger.at_us for each in told] == [taken_us, taken_us + 3_600_000_000]
    assert told[0].latency_us < 3_600_000_000
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
