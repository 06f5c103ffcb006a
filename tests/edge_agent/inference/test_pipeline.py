import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edge_agent import settings
from edge_agent.clock import FixedClock
from edge_agent.inference.lane import BUFFERS
from edge_agent.inference.model import Model
from edge_agent.inference.pipeline import Pipeline
from edge_agent.judgement import Judgement
from edge_agent.sample import Channel, Sample, Trigger
from edge_agent.sources.guard import Guard
from edge_protocol.codes import Reason, Verdict
from tests.edge_agent.inference import small_bundles
from tests.edge_agent.inference.small_bundles import LENGTH, npy, png

NOW = 0.0
"""Do not wait: what is there is judged."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four bundles: a picture's, a window's, the same window's in another version, and one whose score is no number."""
    root = tmp_path_factory.mktemp("bundles")
    small_bundles.write_image_bundle(root / "image")
    small_bundles.write_window_bundle(root / "window")
    small_bundles.write_window_bundle(root / "next", version="2.0.0")
    small_bundles.write_bundle(root / "broken", small_bundles.window_manifest(), {"fp32.onnx": not_a_number()})
    return root


def not_a_number() -> bytes:
    """A graph that loads, runs and says NaN."""
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["sums"]),
        helper.make_node("Log", ["sums"], ["probabilities"]),
    ]
    weights = numpy_helper.from_array(np.full((small_bundles.BANDS, 2), -1, np.float32), "weights")
    graph = helper.make_graph(
        nodes, "broken",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, small_bundles.BANDS])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 2])],
        [weights],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


class Line:
    """A pipeline with all it needs; its judgements in the order they came."""

    def __init__(self, model: Model, **keys: Any) -> None:
        self.clock = FixedClock()
        self.judged: list[Judgement] = []
        self.model = model
        self.n = 0
        guard = Guard(settings.Guard(), model.manifest.input.__struct_config__.tag)
        self.pipeline = Pipeline("seal", model, guard=guard.check, emit=self.judged.append, clock=self.clock, **keys)

    def trigger(self) -> Trigger:
        """The next trigger, now."""
        self.n += 1
        return Trigger(1, self.n, self.clock.wall_us(), self.clock.mono_us())

    def admit(self, sample: Sample) -> Trigger:
        """The next trigger with this sample."""
        trigger = self.trigger()
        self.pipeline.admit(trigger, sample)
        return trigger

    def judge(self, sample: Sample) -> Judgement:
        """What becomes of this sample."""
        self.admit(sample)
        assert self.pipeline.step(NOW)
        return self.judged[-1]


def window(seed: int) -> Sample:
    """A window of noise, never the same twice."""
    values = np.random.default_rng(seed).normal(size=LENGTH)
    return Sample({"signal": Channel(values, 0)})


def window_of(values: np.ndarray) -> Sample:
    """A window of these values."""
    return Sample({"signal": Channel(values, 0)})


def picture(data: Any) -> Sample:
    """A picture as bytes or values."""
    return Sample({"image": Channel(data, 0)})


@pytest.fixture
def line(folder: Path) -> Line:
    """A pipeline for windows."""
    return Line(Model.load(folder / "window"))


def test_a_pipeline_says_what_the_model_says(line: Line) -> None:
    """However many samples share the few tensors, each verdict is that of its own sample judged alone."""
    samples = [window(seed) for seed in range(BUFFERS)]
    for sample in samples:
        line.admit(sample)

    while line.pipeline.step(NOW):
        pass

    alone = [line.model.judge(sample)[0].score for sample in samples]
    assert [judgement.score for judgement in line.judged] == alone
    assert len(set(alone)) == BUFFERS


BAD_WINDOWS = [
    (npy(np.where(np.arange(LENGTH) == 5, np.nan, 1.0)), Reason.NOT_FINITE),
    (np.full(LENGTH, np.inf), Reason.NOT_FINITE),
    (np.linspace(-1, 1, LENGTH) * 1e200, Reason.NOT_FINITE),
    (np.arange(LENGTH - 1.0), Reason.WRONG_SHAPE),
    (np.ones((2, LENGTH)), Reason.WRONG_SHAPE),
    (np.zeros(LENGTH), Reason.DEAD),
    (b"not a window", Reason.UNREADABLE),
    (b"", Reason.UNREADABLE),
]


@pytest.mark.parametrize(("data", "reason"), BAD_WINDOWS)
def test_a_bad_window_is_uninspected_with_its_reason(line: Line, data: Any, reason: Reason) -> None:
    """What cannot be judged says why, has no score and counts nowhere, and the next part is judged."""
    bad, good = line.judge(window_of(data)), line.judge(window(1))

    assert (bad.verdict, bad.reason, bad.score, bad.signals) == (Verdict.UNINSPECTED, reason, None, {})
    assert good.verdict is not Verdict.UNINSPECTED


NOISE = np.random.default_rng(0).integers(60, 200, (32, 32, 3), np.uint8)
BAD_PICTURES = [
    (png(NOISE)[:100], Reason.UNREADABLE),
    (b"\x89PNG\r\n", Reason.UNREADABLE),
    (b"", Reason.UNREADABLE),
    (np.zeros((32, 32, 3), np.uint8), Reason.BLACK),
    (np.zeros((0, 0, 3), np.uint8), Reason.WRONG_SHAPE),
    (np.zeros((4, 32, 32, 3), np.uint8), Reason.WRONG_SHAPE),
]


@pytest.mark.parametrize(("data", "reason"), BAD_PICTURES)
def test_a_bad_picture_is_uninspected_with_its_reason(folder: Path, data: Any, reason: Reason) -> None:
    """The same law for pictures, whole files and torn ones."""
    line = Line(Model.load(folder / "image"))

    bad, good = line.judge(picture(data)), line.judge(picture(NOISE))

    assert (bad.verdict, bad.reason, bad.score) == (Verdict.UNINSPECTED, reason, None)
    assert good.verdict is not Verdict.UNINSPECTED


def test_a_source_without_a_sample_is_uninspected(line: Line) -> None:
    """A trigger for which the source had nothing, or nothing of this kind, still has its verdict."""
    faulty = line.judge(Sample(fault=Reason.SOURCE_FAULT))
    empty = line.judge(Sample())

    assert [(j.verdict, j.reason) for j in (faulty, empty)] == [
        (Verdict.UNINSPECTED, Reason.SOURCE_FAULT),
        (Verdict.UNINSPECTED, Reason.WRONG_SHAPE),
    ]


def test_a_frozen_camera_is_uninspected(folder: Path) -> None:
    """The fifth equal picture in a row is no picture of a part, and a new one is judged again."""
    line = Line(Model.load(folder / "image"))

    judged = [line.judge(picture(NOISE)).reason for _ in range(6)]
    moved = line.judge(picture(255 - NOISE))

    assert [reason is Reason.FROZEN for reason in judged] == [False] * 4 + [True] * 2
    assert moved.verdict is not Verdict.UNINSPECTED


def test_a_model_that_says_nonsense_is_uninspected(folder: Path) -> None:
    """A score that is no number is never OK, and its tensor is used again."""
    line = Line(Model.load(folder / "broken"))

    judged = [line.judge(window(seed)) for seed in range(2 * BUFFERS)]

    assert {(j.verdict, j.reason, j.score) for j in judged} == {(Verdict.UNINSPECTED, Reason.ENGINE_FAULT, None)}


def test_what_is_late_is_not_judged(folder: Path) -> None:
    """A sample older than the deadline is UNINSPECTED/LATE, one within it is judged, and no tensor is lost by it."""
    line = Line(Model.load(folder / "window"), deadline_ms=100)
    for seed in range(2 * BUFFERS):
        line.admit(window(seed))
        line.clock.advance(100_000 + seed % 2)
        line.pipeline.step(NOW)

    assert [j.reason is Reason.LATE for j in line.judged] == [False, True] * BUFFERS
    assert [j.verdict is Verdict.UNINSPECTED for j in line.judged] == [False, True] * BUFFERS


def test_a_refused_trigger_has_its_turn(line: Line) -> None:
    """What was missed is UNINSPECTED/OVERLOAD, behind what came before it and before what came after."""
    line.admit(window(1))
    line.pipeline.refuse(line.trigger(), Reason.OVERLOAD)
    line.admit(window(2))

    while line.pipeline.step(NOW):
        pass

    assert [j.trigger.n for j in line.judged] == [1, 2, 3]
    assert [j.reason is Reason.OVERLOAD for j in line.judged] == [False, True, False]


def test_an_overloaded_line_waits_and_skips_none(line: Line) -> None:
    """With more samples than tensors, `admit` waits for the model; each trigger is answered once, in order."""
    count = 5 * BUFFERS
    feeder = threading.Thread(target=lambda: [line.admit(window(seed)) for seed in range(count)])

    feeder.start()
    while len(line.judged) < count and line.pipeline.step(10):
        pass
    feeder.join()

    assert [j.trigger.n for j in line.judged] == list(range(1, count + 1))
    assert not line.pipeline.step(NOW)


def test_nothing_to_judge_is_said(line: Line) -> None:
    """`step` says whether there was a trigger, so a stop can wait for the last one."""
    line.admit(window(1))

    assert [line.pipeline.step(NOW), line.pipeline.step(NOW)] == [True, False]


OPERATIONS = st.lists(st.sampled_from(["good", "bad", "refuse", "swap", "step"]), max_size=40)


@pytest.fixture(scope="module")
def releases(folder: Path) -> tuple[Model, Model]:
    """Two releases of the same model."""
    return Model.load(folder / "window"), Model.load(folder / "next")


@given(operations=OPERATIONS)
def test_a_swap_loses_and_doubles_nothing(releases: tuple[Model, Model], operations: list[str]) -> None:
    """
    Whatever comes in which order, each trigger has one verdict, in order, by the model it entered with; from the sample
    after a swap on it is the new one.
    """
    line = Line(releases[0])
    entered: list[tuple[int, str]] = []
    for i, operation in enumerate(operations):
        if operation == "swap":
            line.pipeline.swap(releases[line.pipeline.model is releases[0]])
        elif operation == "step":
            line.pipeline.step(NOW)
        elif operation == "refuse":
            entered.append((line.n + 1, line.pipeline.model.digest))
            line.pipeline.refuse(line.trigger(), Reason.OVERLOAD)
        else:
            while len(entered) - len(line.judged) >= BUFFERS:
                line.pipeline.step(NOW)
            entered.append((line.n + 1, line.pipeline.model.digest))
            line.admit(window(i) if operation == "good" else window_of(np.zeros(LENGTH)))

    while line.pipeline.step(NOW):
        pass

    assert [(j.trigger.n, j.context.digest.hex()) for j in line.judged] == entered


def test_a_guard_comes_and_goes_with_its_model(releases: tuple[Model, Model]) -> None:
    """A swap may bring a guard: it is asked from the next sample on, and stays when the next swap brings none."""
    line = Line(releases[0])
    before = line.judge(window(1))

    line.pipeline.swap(releases[1], lambda _look: Reason.BLACK)
    guarded = line.judge(window(2))
    line.pipeline.swap(releases[0])
    after = line.judge(window(3))

    assert [each.reason is Reason.BLACK for each in (before, guarded, after)] == [False, True, True]
