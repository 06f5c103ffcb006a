"""A taught anomaly head and its backbone come in, the int8 variants that may stand for them go out, under the guard."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from cloud_hub.factory import accuracy_guard, anomaly_head, quantize, rounding_noise
from cloud_hub.factory.accuracy_guard import Comparison, Guarded
from cloud_hub.factory.evaluate import Figure, Scores
from cloud_hub.factory.graph import join
from cloud_hub.factory.quantize import Arithmetic
from cloud_hub.factory.run import Run
from edge_agent.inference.engine import Engine
from edge_protocol.bundle import OperatingPoint

THREADS = 2
NATIVE = ("fp32", "u8s8-7bit")
"""Variants that any x86 computes as they are meant. The others are computed node by node here: exact, and slow."""

CALIBRATION_TILES = 60
EXACT_PARTS, NOISE_TILES, TIMED_RUNS = 200, 3, 31

Tensors = Sequence[npt.NDArray[Any]]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Lesson:
    """What was taught with which tensors of good parts, and labelled parts that nothing was taught with."""

    tensor: str
    backbone: bytes
    head: anomaly_head.Head
    point: OperatingPoint
    good: Tensors
    parts: Tensors
    is_bad: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Trial:
    """What every variant is made of and compared with."""

    lesson: Lesson
    quantizer: quantize.Quantizer
    tensors: Tensors
    exact: Floats
    wanted: Scores


def quantized(run: Run, lesson: Lesson) -> dict[str, Guarded]:
    """All int8 variants, each with the head aligned to what its arithmetic makes of good tiles, under the guard."""
    run.step(f"quantize: {', '.join(a.variant.name for a in quantize.ARITHMETICS)}; the head stays in single precision")
    tensors = lesson.good[:: max(1, len(lesson.good) // CALIBRATION_TILES)]
    exact = join(lesson.backbone, anomaly_head.make_head(lesson.head))
    wanted = scores_of(exact, lesson.tensor, lesson.parts)
    found = {}
    with quantize.prepared(lesson.backbone, lesson.tensor, tensors) as quantizer:
        trial = _Trial(lesson, quantizer, tensors, patches_of(lesson.backbone, lesson.tensor, tensors), wanted)
        for arithmetic in quantize.ARITHMETICS:
            name = arithmetic.variant.name
            found[name] = guarded = _hold(trial, arithmetic)
            left = f"{len(guarded.in_float)} nodes in float" if guarded.in_float else "all in integers"
            feed = {lesson.tensor: tensors[0]}
            speed = f", {_speed_up(exact, guarded.model, feed):.2f} times as fast here" if name in NATIVE else ""
            run.note(f"{name}: {left}; {guarded.after}; {len(guarded.model) / 1e6:.1f} MB{speed}")
    return found


def told(guarded: dict[str, Guarded]) -> dict[str, Figure | float]:
    """What the guard found of each variant, for the card."""
    figures: dict[str, Figure | float] = {}
    for name, each in guarded.items():
        figures[f"{name} nodes left in float"] = float(len(each.in_float))
        figures[f"{name} size in MB"] = round(len(each.model) / 1e6, 1)
        for when, found in (("all in integers", each.before), ("as shipped", each.after)):
            figures[f"{name} {when}: auroc lost"] = found.loss
            figures[f"{name} {when}: same verdict"] = found.agreement
            figures[f"{name} {when}: rank correlation"] = found.rank
    return figures


def patches_of(model: bytes, tensor: str, tensors: Tensors, *, optimise: bool = True) -> Floats:
    """The patches [tiles, 196, 432] that a backbone makes of tensors."""
    engine = Engine(join(model, anomaly_head.make_patches()), threads=THREADS, optimise=optimise)
    return np.stack([engine.run({tensor: each})["patches"] for each in tensors])


def scores_of(model: bytes, tensor: str, tensors: Tensors, *, optimise: bool = True) -> Scores:
    """The score that a whole model gives each tensor."""
    engine = Engine(model, threads=THREADS, optimise=optimise)
    return np.array([float(engine.run({tensor: each})["score"].reshape(())) for each in tensors])


def _hold(trial: _Trial, arithmetic: Arithmetic) -> Guarded:
    """The variant of one arithmetic that judges as single precision does, with as few nodes in float as that takes."""
    lesson, name = trial.lesson, arithmetic.variant.name
    optimise = name in NATIVE
    n = len(lesson.parts) if optimise else EXACT_PARTS

    def make(in_float: Sequence[str]) -> bytes:
        rounded = trial.quantizer.make(arithmetic, in_float)
        patches = patches_of(rounded, lesson.tensor, trial.tensors, optimise=optimise)
        return join(rounded, anomaly_head.make_head(anomaly_head.align(lesson.head, trial.exact, patches)))

    def compare(model: bytes) -> Comparison:
        scores = scores_of(model, lesson.tensor, lesson.parts[:n], optimise=optimise)
        return accuracy_guard.compare(trial.wanted[:n], scores, lesson.is_bad[:n], lesson.point)

    def worst_first() -> list[str]:
        samples = trial.tensors[:: max(1, len(trial.tensors) // NOISE_TILES)][:NOISE_TILES]
        rounded = trial.quantizer.make(arithmetic)
        return [
            noise.node for noise in rounding_noise.by_node(trial.quantizer.prepared, rounded, lesson.tensor, samples)
        ]

    return accuracy_guard.search(make, compare, worst_first, name)


def _speed_up(exact: bytes, rounded: bytes, feed: dict[str, npt.NDArray[Any]]) -> float:
    """How many times as fast as single precision a variant is on this machine: the median of runs in turns."""
    engines = [Engine(model) for model in (exact, rounded)]
    ratios = []
    for _ in range(TIMED_RUNS):
        times = []
        for engine in engines:
            started = perf_counter()
            engine.run(feed)
            times.append(perf_counter() - started)
        ratios.append(times[0] / times[1])
    return float(np.median(ratios))
