"""What a pipeline holds on to, and for how long."""

import weakref
from pathlib import Path

import numpy as np

from edge_agent.clock import FixedClock
from edge_agent.inference.model import Model
from edge_agent.inference.pipeline import Pipeline
from edge_agent.judgement import Judgement
from edge_agent.sample import Channel, Look, Sample, Trigger
from edge_protocol.codes import Reason, Verdict
from tests.edge_agent.inference import small_bundles
from tests.edge_agent.inference.small_graphs import COUNTER, counter, manifest

NOW = 0.0


def test_what_is_bad_is_shown_and_nothing_is_kept(tmp_path: Path) -> None:
    """NG and REVIEW are shown with sample and heatmap, OK and UNINSPECTED are not; afterwards neither is held."""
    model = Model.load(small_bundles.write_image_bundle(tmp_path / "image"))
    shown: list[tuple[Verdict, Sample]] = []
    drawn: list[bool] = []
    judged: list[Judgement] = []

    def show(judgement: Judgement, sample: Sample) -> None:
        shown.append((judgement.verdict, sample))
        drawn.append(judgement.prediction is not None and judgement.prediction.heatmap is not None)

    pipeline = Pipeline("seal", model, guard=_trusting, emit=judged.append, clock=FixedClock(), exhibit=show)
    levels = {255: Verdict.NG, 128: Verdict.OK, 200: Verdict.REVIEW, 0: Verdict.NG}
    samples = [Sample({"image": Channel(np.full((32, 32, 3), level, np.uint8), 0)}) for level in levels]
    for n, sample in enumerate([*samples, Sample(fault=Reason.SOURCE_FAULT)], 1):
        pipeline.admit(Trigger(1, n, 0, 0), sample)
        pipeline.step(NOW)

    assert [judgement.verdict for judgement in judged] == [*levels.values(), Verdict.UNINSPECTED]
    assert all(judgement.prediction is None or judgement.prediction.heatmap is None for judgement in judged)
    assert all(drawn)
    assert shown == [(v, s) for v, s in zip(levels.values(), samples, strict=True) if v is not Verdict.OK]
    shown.clear()
    array = weakref.ref(samples[0].channels["image"].data)
    del samples, sample
    assert array() is None


def test_where_nothing_is_shown_no_sample_is_kept(tmp_path: Path) -> None:
    """A pipeline that shows nobody anything lets go of the picture as soon as its tensor is written."""
    model = Model.load(small_bundles.write_image_bundle(tmp_path / "image"))
    pipeline = Pipeline("seal", model, guard=_trusting, emit=lambda _judgement: None, clock=FixedClock())
    sample = Sample({"image": Channel(np.full((32, 32, 3), 99, np.uint8), 0)})
    array = weakref.ref(sample.channels["image"].data)

    pipeline.admit(Trigger(1, 1, 0, 0), sample)
    del sample

    assert array() is None


def test_a_model_that_comes_back_has_no_past(tmp_path: Path) -> None:
    """What a stateful model carried before another one judged is gone when it judges again, and at its first part."""
    bundles = [
        small_bundles.write_bundle(tmp_path / version, manifest(version=version, **COUNTER), {"fp32.onnx": counter()})
        for version in ("1.0.0", "2.0.0")
    ]
    one, two = (Model.load(bundle) for bundle in bundles)
    judged: list[Judgement] = []
    pipeline = Pipeline("pump", one, guard=_trusting, emit=judged.append, clock=FixedClock())
    sample = Sample({"any": Channel(np.ones(4), 0)})
    one.judge(sample)
    for n, model in enumerate((one, one, two, one), 1):
        if model is not pipeline.model:
            pipeline.swap(model)
        pipeline.admit(Trigger(1, n, 0, 0), sample)
        pipeline.step(NOW)

    assert [each.prediction.value for each in judged if each.prediction is not None] == [8, 16, 8, 8]


def _trusting(_look: Look) -> Reason:
    return Reason.NONE
