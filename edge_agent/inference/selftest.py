"""A loaded model and its bundle's goldens come in; the first stage that differs on this machine goes out.

Runs raw bytes to verdict, so that another OpenCV, a wrong resize or one changed weight each show under a name.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.errors import InferenceError
from edge_agent.inference import postprocess
from edge_agent.inference.model import Model
from edge_agent.sample import Channel, Sample
from edge_protocol.bundle import Expectation, ImageInput

STAGES = ("decode", "geometry", "normalise", "engine")
PROBES = 8
_SHARE_OF_MARGIN = 0.25
_GREY_LEVELS = 1.0
"""Two builds of OpenCV may round a resized pixel differently, by one level."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A golden that this machine does not reproduce: the first stage that differs, and how."""

    golden: str
    stage: str
    detail: str


@dataclass(frozen=True, slots=True)
class Trace:
    """What each stage made of one input, at fixed places, and what came out."""

    stages: dict[str, tuple[float, ...]]
    score: float
    verdict: str


def probe(values: npt.NDArray[Any]) -> tuple[float, ...]:
    """Eight values at equal distances over the flattened array, first and last among them."""
    places = np.linspace(0, values.size - 1, PROBES).astype(np.int64)
    return tuple(float(value) for value in values.reshape(-1)[places])


def trace(model: Model, data: bytes) -> Trace:
    """Run `data` through every stage.

    Raises:
        InferenceError: it cannot be judged.
    """
    sample = Sample({model.preprocessor.channel: Channel(data, 0)})
    array = model.decode(sample)
    fitted = model.preprocessor.geometry(array)
    tensor = model.new_tensor()
    stages = {"decode": probe(array), "geometry": probe(fitted)}
    model.preprocessor.normalise(fitted, tensor)
    outputs = model.run(tensor)
    first = postprocess.output_names(model.manifest.output)[0]
    stages |= {"normalise": probe(tensor), "engine": probe(outputs[first])}
    prediction = postprocess.predict(model.manifest.output, outputs)
    return Trace(stages, prediction.score, model.verdict(prediction)[0].name)


def check(model: Model, folder: Path) -> list[Difference]:
    """The goldens of the bundle in `folder` that this machine does not reproduce; empty when all is well.

    A bundle whose goldens say nothing of the model's variant has not proved anything: that is a difference too.
    """
    differences = []
    for golden in model.manifest.goldens:
        expected = golden.expect.get(model.variant)
        if expected is None:
            differences.append(Difference(golden.file, "variant", f"no expectation for {model.variant}"))
            continue
        try:
            found = trace(model, (folder / golden.file).read_bytes())
        except InferenceError as error:
            differences.append(Difference(golden.file, "decode", str(error)))
            continue
        differences.extend(_compare(golden.file, model, expected, found)[:1])
    return differences


def _compare(golden: str, model: Model, expected: Expectation, found: Trace) -> list[Difference]:
    """Every difference, the first stage first."""
    allowed = _tolerances(model, expected)
    differences = []
    for stage in STAGES:
        if stage not in expected.stages:
            continue
        want, have = np.array(expected.stages[stage]), np.array(found.stages[stage])
        if want.shape != have.shape or np.abs(want - have).max() > allowed[stage]:
            differences.append(Difference(golden, stage, _furthest(want, have)))
    if abs(found.score - expected.score) > _SHARE_OF_MARGIN * expected.margin:
        differences.append(Difference(golden, "score", f"{found.score:.6g}, expected {expected.score:.6g}"))
    if found.verdict != expected.verdict:
        differences.append(Difference(golden, "verdict", f"{found.verdict}, expected {expected.verdict}"))
    return differences


def _furthest(want: npt.NDArray[Any], have: npt.NDArray[Any]) -> str:
    """The probe that is furthest off, in words."""
    if want.shape != have.shape:
        return f"{have.size} probes, expected {want.size}"
    at = int(np.abs(want - have).argmax())
    return f"probe {at + 1} of {want.size} is {have[at]:.6g}, expected {want[at]:.6g}"


def _tolerances(model: Model, expected: Expectation) -> dict[str, float]:
    """How far each stage may be off: a picture by a grey level, a window by rounding, the engine by the margin."""
    contract = model.manifest.input
    engine = _SHARE_OF_MARGIN * expected.margin
    if isinstance(contract, ImageInput):
        step = _GREY_LEVELS / min(contract.std) if contract.dtype == "float32" else _GREY_LEVELS
        return {"decode": 0.0, "geometry": _GREY_LEVELS, "normalise": step * (1 + 1e-6), "engine": engine}
    return {"decode": 0.0, "geometry": 1e-6, "normalise": 1e-4, "engine": engine}
