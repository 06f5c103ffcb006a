from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_agent.clock import FixedClock
from edge_agent.errors import InferenceError
from edge_agent.inference.engine import Engine
from edge_agent.inference.model import Model
from edge_agent.inference.pipeline import Pipeline
from edge_agent.judgement import Judgement
from edge_agent.monitoring.heartbeat import (
    DIFFERS,
    FIRST_US,
    GAP_US,
    STUCK,
    UNREADABLE,
    Around,
    Heartbeat,
)
from edge_agent.sample import Channel, Sample, Trigger
from edge_protocol.codes import Reason, Verdict
from tests.edge_agent.inference.small_bundles import LENGTH, npy, window_graph
from tests.edge_agent.updates.releases import release

PART = Sample({"signal": Channel(npy(np.sin(np.arange(LENGTH) / 3)), 0)})
EVERY_US = 300_000_000


def write(folder: Path) -> Path:
    """A bundle with a golden that comes out as it should here."""
    made = release("1.0.0")
    for name, content in {"manifest.json": made.manifest, **made.files}.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def other_weights() -> bytes:
    """The same graph with one weight that is another."""
    changed = onnx.load_from_string(window_graph())
    (found,) = (w for w in changed.graph.initializer if w.name == "slope")
    found.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(found) * np.float32(0.3), "slope"))
    return bytes(changed.SerializeToString())


def corrupt_outputs(model: Model) -> None:
    """From now on this session says something else than it computes."""
    run = model.engine.run
    model.engine.run = lambda tensors: {name: 1 - values for name, values in run(tensors).items()}  # type: ignore[method-assign]


def corrupt_weights(model: Model) -> None:
    """A weight in memory is another."""
    model.engine = Engine(other_weights())


def fail(model: Model) -> None:
    """From now on this session raises."""

    def run(_tensors: object) -> dict[str, Any]:
        message = "out of luck"
        raise InferenceError(message, "", Reason.ENGINE_FAULT)

    model.engine.run = run  # type: ignore[method-assign, assignment]


class Line:
    """A pipeline with its heartbeat on one thread, and a clock that is told."""

    def __init__(self, folder: Path, *, previous: bool = False) -> None:
        self.folder = folder
        self.clock = FixedClock()
        self.judged: list[Judgement] = []
        self.told: dict[str, str] = {}
        self.passed: list[Model] = []
        self.failed: list[Model] = []
        self.returns: list[str] = []
        self.previous = previous
        self.load: Callable[[Path, Model], Model] = lambda folder, _model: Model.load(folder)
        self.pipeline = Pipeline(
            "engine", Model.load(folder), guard=lambda *_: Reason.NONE, emit=self.judged.append, clock=self.clock
        )
        around = Around(
            folder=lambda _model: self.folder,
            tell=self._tell,
            passed=self.passed.append,
            failed=self.failed.append,
            load=self._load,
            install=self._install,
            fall_back=self._fall_back,
        )
        self.heartbeat = Heartbeat(self.pipeline, around, every_us=EVERY_US)
        self.heartbeat.begin(self.clock.mono_us(), is_known=True)

    def beat(self, after_us: int = EVERY_US) -> None:
        """Time passes, a golden is asked if it is due, the engine has its turn, the answer is heard."""
        self.clock.advance(after_us)
        for _ in range(2):
            self.heartbeat.step(self.clock.mono_us())
            while self.pipeline.step(0):
                pass

    def judge(self) -> tuple[Verdict, Reason]:
        """What becomes of a part now."""
        n = len(self.judged) + 1
        self.pipeline.admit(Trigger(1, n, self.clock.wall_us(), self.clock.mono_us()), PART)
        while self.pipeline.step(0):
            pass
        return self.judged[-1].verdict, self.judged[-1].reason

    def _tell(self, reason: str, active: bool, detail: str) -> None:  # noqa: FBT001
        if active:
            self.told.setdefault(reason, detail)
        else:
            self.told.pop(reason, None)

    def _install(self, before: Model, model: Model) -> None:
        assert self.pipeline.replace(before, model, lambda *_: Reason.NONE)

    def _load(self, folder: Path, model: Model) -> Model:
        return self.load(folder, model)

    def _fall_back(self, digest: str, reason: str) -> bool:
        self.returns.append(reason)
        return self.previous


@pytest.fixture
def line(tmp_path: Path) -> Line:
    """A line whose engine knows its goldens."""
    return Line(write(tmp_path / "bundle"))


def test_an_engine_that_knows_its_goldens_is_left_alone(line: Line) -> None:
    """Every golden in a first round, then one at each heartbeat: it is written down, and parts are judged as ever."""
    line.beat(FIRST_US)

    assert (line.told, line.failed) == ({}, [])
    assert line.passed == [line.pipeline.model]
    line.beat()
    assert line.judge()[0] is Verdict.OK


def test_nothing_is_asked_before_its_time(line: Line) -> None:
    """The first verdicts come first; afterwards a golden is asked once in a period and not more often."""
    asked: list[int] = []
    run = line.pipeline.model.engine.run

    def count(tensors: Any) -> dict[str, Any]:
        asked.append(1)
        return run(tensors)

    line.pipeline.model.engine.run = count  # type: ignore[method-assign]

    line.beat(FIRST_US - 1)
    assert asked == []
    line.beat(1)
    line.beat(EVERY_US - 1)
    assert asked == [1]
    line.beat(1)
    assert asked == [1, 1]


@pytest.mark.parametrize("corrupt", [corrupt_outputs, corrupt_weights, fail])
def test_an_engine_that_answers_wrongly_judges_no_part(line: Line, corrupt: Callable[[Model], None]) -> None:
    """It is quarantined at the golden that differs, the stage is named, and what is under way is not judged either."""
    corrupt(line.pipeline.model)
    line.clock.advance(FIRST_US)
    line.heartbeat.step(line.clock.mono_us())
    line.pipeline.step(0)
    line.pipeline.admit(Trigger(1, 1, 0, 0), PART)
    assert line.pipeline.model is line.heartbeat._model
    line.heartbeat._hear(line.pipeline.model, line.heartbeat._question, line.clock.mono_us())  # type: ignore[arg-type]

    line.pipeline.step(0)

    assert (line.judged[-1].verdict, line.judged[-1].reason) == (Verdict.UNINSPECTED, Reason.QUARANTINED)
    assert line.judge() == (Verdict.UNINSPECTED, Reason.QUARANTINED)
    assert line.told[DIFFERS].startswith("engine of golden.npy")
    assert line.failed == [line.pipeline.model]
    assert line.heartbeat.problem


@pytest.mark.parametrize("corrupt", [corrupt_outputs, corrupt_weights])
def test_it_is_loaded_anew_from_the_signed_file(line: Line, corrupt: Callable[[Model], None]) -> None:
    """The new engine knows its goldens: parts are judged again, and the fault is over when it has shown so alive."""
    before = line.pipeline.model
    corrupt(before)
    line.beat(FIRST_US)
    line.beat(0)

    assert line.pipeline.model is not before
    assert line.judge() == (Verdict.OK, Reason.NONE)
    line.beat(FIRST_US)
    line.beat(GAP_US)
    assert (line.told, line.passed, line.returns) == ({}, [line.pipeline.model], [])


def test_what_differs_again_goes_back_to_the_release_before(tmp_path: Path) -> None:
    """The second time it is not loaded anew: the release before is asked for, with the stage as the reason."""
    line = Line(write(tmp_path / "bundle"), previous=True)
    corrupt_outputs(line.pipeline.model)
    line.beat(FIRST_US)
    line.beat(0)
    fresh = line.pipeline.model
    line.beat()
    corrupt_outputs(fresh)
    line.beat()
    line.beat(0)

    assert line.returns == [line.told[DIFFERS]]
    assert line.returns[0].startswith("engine of golden.npy")
    assert line.pipeline.model is fresh
    assert line.judge() == (Verdict.UNINSPECTED, Reason.QUARANTINED)


@pytest.mark.parametrize("previous", [True, False])
def test_a_file_that_is_as_wrong_goes_back_or_stays_quarantined(tmp_path: Path, previous: bool) -> None:  # noqa: FBT001
    """Loaded anew it differs too: the release before, or where there is none no part is judged and that is said."""
    line = Line(write(tmp_path / "bundle"), previous=previous)
    corrupt_outputs(line.pipeline.model)

    def load(folder: Path, _model: Model) -> Model:
        fresh = Model.load(folder)
        corrupt_weights(fresh)
        return fresh

    line.load = load
    line.beat(FIRST_US)
    line.beat(0)

    assert "; loaded anew: engine of golden.npy" in line.returns[0]
    assert (STUCK in line.told) is not previous
    assert line.judge() == (Verdict.UNINSPECTED, Reason.QUARANTINED)
    line.load = lambda folder, _model: Model.load(folder)
    line.previous = False
    line.beat()
    assert line.judge() == (Verdict.OK, Reason.NONE)


def test_changed_weights_on_the_disk_are_refused_by_their_digest(line: Line) -> None:
    """What is loaded anew is what was signed, or nothing is."""
    corrupt_outputs(line.pipeline.model)
    (line.folder / "fp32.onnx").write_bytes(other_weights())
    line.beat(FIRST_US)
    line.beat(0)

    assert "load of small-window" in line.told[STUCK]
    assert "fp32.onnx" in line.told[STUCK]
    assert line.judge() == (Verdict.UNINSPECTED, Reason.QUARANTINED)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"noise")])
def test_a_golden_that_the_disk_has_lost_quarantines_nothing(line: Line, damage: Callable[[Path], None]) -> None:
    """It is the disk's fault and told as such: the engine is not blamed."""
    damage(line.folder / "golden.npy")
    line.beat(FIRST_US)

    assert list(line.told) == [UNREADABLE]
    assert line.judge()[0] is Verdict.OK


def test_a_model_that_has_passed_before_is_ready_when_it_has_again(line: Line) -> None:
    """It judges from the start, and is awaited until this very engine has answered all of its goldens."""
    assert line.heartbeat.is_awaited
    assert line.judge()[0] is Verdict.OK

    line.beat(FIRST_US)

    assert not line.heartbeat.is_awaited
    line.heartbeat.begin(line.clock.mono_us(), is_known=False)
    assert not line.heartbeat.is_awaited


def test_a_model_that_has_not_passed_here_is_checked_before_the_line_runs(line: Line) -> None:
    """At a start under other libraries the first part comes after the goldens, and a wrong engine judges none."""
    line.heartbeat.begin(line.clock.mono_us(), is_known=False)
    assert line.passed == [line.pipeline.model]

    corrupt_weights(line.pipeline.model)
    line.heartbeat.begin(line.clock.mono_us(), is_known=False)

    assert line.judge() == (Verdict.UNINSPECTED, Reason.QUARANTINED)
    line.beat(0)
    assert line.judge() == (Verdict.OK, Reason.NONE)


def test_another_model_is_asked_soon_and_blamed_for_nothing(line: Line, tmp_path: Path) -> None:
    """A swap ends the quarantine: the new model is trusted at once and asked at once."""
    corrupt_outputs(line.pipeline.model)
    line.beat(FIRST_US)
    line.pipeline.swap(Model.load(write(tmp_path / "next")))

    assert line.judge() == (Verdict.OK, Reason.NONE)
    line.beat(0)
    assert (line.told, line.heartbeat.problem) == ({}, "")


def test_a_quarantined_engine_that_comes_back_is_loaded_anew(line: Line, tmp_path: Path) -> None:
    """A release whose probation fails gives way to the one before: if that was quarantined, it is mended, not left."""
    before = line.pipeline.model
    corrupt_outputs(before)
    line.beat(FIRST_US)
    line.pipeline.swap(Model.load(write(tmp_path / "next")))
    line.beat(0)

    line.pipeline.swap(before)
    line.beat(0)

    assert line.judge() == (Verdict.UNINSPECTED, Reason.QUARANTINED)
    assert line.heartbeat.problem
    line.beat(FIRST_US)
    assert line.judge() == (Verdict.OK, Reason.NONE)
    assert line.heartbeat.problem == ""


def test_a_line_that_is_busy_is_waited_for(line: Line) -> None:
    """No answer is no wrong answer, and no second question."""
    line.clock.advance(FIRST_US)
    for _ in range(3):
        line.heartbeat.step(line.clock.mono_us())
        line.clock.advance(EVERY_US)
    assert (line.told, line.passed) == ({}, [])

    line.beat()

    assert (line.told, line.passed) == ({}, [line.pipeline.model])
