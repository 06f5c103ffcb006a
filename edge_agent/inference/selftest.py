"""A loaded model and its bundle's goldens come in; the first stage that differs on this machine goes out.

Runs raw bytes to verdict, so that another OpenCV, a wrong resize or one changed weight each show under a name. `check`
is for a model that judges nothing yet; `approach` and `compare` are its halves, with the engine's turn between them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent import __version__
from edge_agent.errors import InferenceError
from edge_agent.inference import decision, engine, postprocess
from edge_agent.inference.geometry import Placement
from edge_agent.inference.hardware import architecture, cpu_flags
from edge_agent.inference.model import Model
from edge_agent.inference.preprocess import Preprocessor
from edge_protocol.bundle import (
    DetectionOutput,
    Expectation,
    Golden,
    ImageInput,
    Manifest,
    OutputContract,
    SegmentationOutput,
)

STAGES = ("decode", "geometry", "normalise", "engine")
PROBES = 8
_SHARE_OF_MARGIN = 0.25
_SHARE_OF_OUTPUT = 0.05
"""Where a graph's output is on another scale than the score."""

_GREY_LEVELS = 1.0
"""Two builds of OpenCV may round a resized pixel differently, by one level."""

_ROUNDING = 1e-6

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """A golden that this machine does not reproduce: the first stage that differs, and how."""

    golden: str
    stage: str
    detail: str

    def __str__(self) -> str:
        return f"{self.stage} of {self.golden}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Approach:
    """An input up to the engine: the tensor, and what each stage made of it at fixed places."""

    tensor: Array
    stages: dict[str, tuple[float, ...]]
    placement: Placement | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """What each stage made of one input, at fixed places, and what came out."""

    stages: dict[str, tuple[float, ...]]
    score: float
    verdict: str


def environment() -> str:
    """Everything but the bundle that a golden's outcome hangs on. What passed under another is to be checked again."""
    flags = hashlib.sha256(" ".join(sorted(cpu_flags())).encode()).hexdigest()[:16]
    libraries = f"opencv {cv2.__version__}, {engine.RUNTIME}, numpy {np.__version__}"
    return f"agent {__version__}, {libraries}, {architecture()} {flags}"


def probe(values: npt.NDArray[Any]) -> tuple[float, ...]:
    """Eight values at equal distances over the flattened array, first and last among them."""
    places = np.linspace(0, values.size - 1, PROBES).astype(np.int64)
    return tuple(float(value) for value in values.reshape(-1)[places])


def approach(preprocessor: Preprocessor, data: bytes) -> Approach:
    """Bring `data` to the engine.

    Raises:
        InferenceError: it cannot be judged.
    """
    array = preprocessor.decode(data)
    stages = {"decode": probe(array), "geometry": probe(preprocessor.geometry(array))}
    # Not of what `geometry` gave: the line calls `write`, and so is this.
    tensor = preprocessor.new_tensor()
    placement = preprocessor.write(array, tensor)
    return Approach(tensor, {**stages, "normalise": probe(tensor)}, placement)


def conclude(model: Model, begun: Approach, outputs: Mapping[str, Array]) -> Trace:
    """What came of an approach when the engine gave `outputs`.

    Raises:
        InferenceError: they are not what the manifest says.
    """
    first = postprocess.output_names(model.manifest.output)[0]
    # By the manifest's own operating point: what a site has set instead is nothing that a golden knows of.
    point = model.manifest.operating_point
    prediction = model.conclude(outputs, begun.placement, point)
    verdict, _ = decision.verdict(prediction, point)
    return Trace({**begun.stages, "engine": probe(outputs[first])}, prediction.score, verdict.name)


def trace(model: Model, data: bytes) -> Trace:
    """Run `data` through every stage.

    Raises:
        InferenceError: it cannot be judged.
    """
    begun = approach(model.preprocessor, data)
    return conclude(model, begun, model.run(begun.tensor))


def read(manifest: Manifest, folder: Path, golden: Golden) -> bytes | None:
    """The bytes of a golden as they were signed; None when the disk has lost or changed them."""
    try:
        data = (folder / golden.file).read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == manifest.files[golden.file].sha256 else None


def check(model: Model, folder: Path) -> list[Difference]:
    """The goldens of the bundle in `folder` that this machine does not reproduce; empty when all is well.

    A bundle whose goldens say nothing of the model's variant has not proved anything: that is a difference too.
    """
    found = [_check_one(model, folder, golden) for golden in model.manifest.goldens]
    return [difference for difference in found if difference is not None]


def compare(model: Model, golden: Golden, found: Trace) -> Difference | None:
    """The first stage at which what was found is not what the golden expects."""
    expected = golden.expect.get(model.variant)
    if expected is None:
        return Difference(golden.file, "variant", f"no expectation for {model.variant}")
    allowed = _tolerances(model, expected)
    for stage in STAGES:
        if stage not in expected.stages:
            continue
        want, have = np.array(expected.stages[stage]), np.array(found.stages[stage])
        # What is not a number is as far off as can be.
        if want.shape != have.shape or not np.abs(want - have).max() <= allowed[stage]:
            return Difference(golden.file, stage, _furthest(want, have))
    if not abs(found.score - expected.score) <= _SHARE_OF_MARGIN * expected.margin:
        return Difference(golden.file, "score", f"{found.score:.6g}, expected {expected.score:.6g}")
    if found.verdict != expected.verdict:
        return Difference(golden.file, "verdict", f"{found.verdict}, expected {expected.verdict}")
    trained = golden.trained
    if trained is not None and not abs(found.score - trained.score) <= trained.tolerance:
        detail = f"{found.score:.6g}, {trained.framework} says {trained.score:.6g} ± {trained.tolerance:.2g}"
        return Difference(golden.file, "trained", detail)
    return None


def _check_one(model: Model, folder: Path, golden: Golden) -> Difference | None:
    data = read(model.manifest, folder, golden)
    if data is None:
        return Difference(golden.file, "file", "it is not there as it was signed")
    try:
        begun = approach(model.preprocessor, data)
    except InferenceError as error:
        return Difference(golden.file, "decode", str(error))
    try:
        found = conclude(model, begun, model.run(begun.tensor))
    except InferenceError as error:
        return Difference(golden.file, "engine", str(error))
    return compare(model, golden, found)


def _furthest(want: npt.NDArray[Any], have: npt.NDArray[Any]) -> str:
    """The probe that is furthest off, in words."""
    if want.shape != have.shape:
        return f"{have.size} probes, expected {want.size}"
    at = int(np.nan_to_num(np.abs(want - have), nan=np.inf).argmax())
    return f"probe {at + 1} of {want.size} is {have[at]:.6g}, expected {want[at]:.6g}"


def _tolerances(model: Model, expected: Expectation) -> dict[str, float]:
    """How far each stage may be off: a picture by a grey level, a window by rounding, the engine by the margin."""
    contract = model.manifest.input
    engine_stage = _engine_tolerance(model.manifest.output, expected)
    if isinstance(contract, ImageInput):
        is_float = contract.dtype in {"float32", "float64"}
        step = _GREY_LEVELS / min(contract.std) if is_float else _GREY_LEVELS
        return {"decode": 0.0, "geometry": _GREY_LEVELS, "normalise": step * (1 + _ROUNDING), "engine": engine_stage}
    geometry, normalise = (_largest(expected, stage) for stage in ("geometry", "normalise"))
    return {
        "decode": 0.0,
        "geometry": _ROUNDING * max(1.0, geometry),
        "normalise": 1e-4 * max(1.0, normalise),
        "engine": engine_stage,
    }


def _engine_tolerance(output: OutputContract, expected: Expectation) -> float:
    """By the margin where the graph's first output is on the score's scale, else by a share of itself."""
    is_scaled = (
        isinstance(output, DetectionOutput | SegmentationOutput) or getattr(output, "activation", "none") != "none"
    )
    return _SHARE_OF_OUTPUT * _largest(expected, "engine") if is_scaled else _SHARE_OF_MARGIN * expected.margin


def _largest(expected: Expectation, stage: str) -> float:
    return max(map(abs, expected.stages.get(stage, (0.0,))))
