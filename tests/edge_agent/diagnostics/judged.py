"""Judgements as a line gives them, for the rooms that look at them afterwards."""

from pathlib import Path

import numpy as np

from edge_agent.clock import Clock
from edge_agent.inference.model import Model
from edge_agent.judgement import Judgement
from edge_agent.sample import Channel, Sample, Trigger
from tests.edge_agent.inference.small_bundles import LENGTH, SIDE, png, write_image_bundle, write_window_bundle

EPOCH = 7


def image_model(folder: Path, **changes: object) -> Model:
    """The small image model, whose bundle lets pictures be kept."""
    return Model.load(write_image_bundle(folder / "image", **({"capture": "ng"} | changes)))


def window_model(folder: Path, **changes: object) -> Model:
    """The small window model."""
    return Model.load(write_window_bundle(folder / "window", **changes))


def bad_part(level: int = 255) -> Sample:
    """A picture that is far from grey."""
    return Sample({"image": Channel(png(np.full((SIDE, SIDE, 3), level, np.uint8)), 0)})


def noise(seed: int = 0) -> Sample:
    """A window of noise."""
    return Sample({"signal": Channel(np.random.default_rng(seed).normal(size=LENGTH), 0)})


def judge(model: Model, sample: Sample, n: int = 1, pipeline: str = "line", at_us: int = 0) -> Judgement:
    """What a pipeline says of a sample."""
    prediction, signals = model.judge(sample)
    verdict, reason = model.verdict(prediction)
    return Judgement(
        trigger=Trigger(EPOCH, n, at_us or Clock().wall_us(), 0, part=f"P{n}"),
        pipeline=pipeline,
        context=model.context(pipeline),
        verdict=verdict,
        reason=reason,
        score=prediction.score,
        latency_us=1,
        signals={**signals, "score": prediction.score},
        prediction=prediction,
    )
