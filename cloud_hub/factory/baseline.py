"""Features of a machine that is well come in, a plain ONNX graph that scores how far others are from them goes out.

One centre and one spread for each operating regime, a bin of speed or load. The score is the sum of its parts, one a
feature, so a verdict can be told. Thresholds are not chosen here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from sklearn.covariance import ledoit_wolf

from cloud_hub.errors import FactoryError
from cloud_hub.factory.graph import Graph

Rows = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

MAD_TO_STD = 1.4826
"""Of a normal distribution: the deviation is this many median absolute deviations."""

LARGEST = 1000.0
"""Deviations from the centre that count at most: the score stays a number, and what is furthest off stays first."""

_OUTLIER = 20.0
"""Deviations at most where it is learnt how features go together."""

_TINY = 1e-12
_FEWEST_ROWS = 20


@dataclass(frozen=True, slots=True)
class Regime:
    """Bins of one feature: `edges` ascend, a value on an edge belongs to the bin above it."""

    feature: int
    edges: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a machine that is well looks like: centre and spread [regimes, features] of each regime.

    `in_logs` are the features that are compared by their logarithms; `precision` [features, features] is the inverse
    of how they go together, or the identity.
    """

    regimes: tuple[Regime, ...]
    in_logs: npt.NDArray[np.bool_]
    centre: Rows
    spread: Rows
    precision: Rows


def bins_of(features: npt.ArrayLike, feature: int, count: int) -> Regime:
    """`count` bins of equal size on the values that a feature has taken; ties leave fewer."""
    values = np.asarray(features, np.float64)[:, feature]
    edges = np.unique(np.quantile(values, np.linspace(0, 1, count + 1)[1:-1]))
    return Regime(feature, tuple(edges[edges > values.min()].tolist()))


def fit(
    features: npt.ArrayLike,
    regimes: Sequence[Regime] = (),
    *,
    in_logs: Sequence[int] = (),
    method: Literal["mad", "mahalanobis"] = "mad",
) -> Baseline:
    """The baseline of rows [n, features] of a machine that is well.

    `mad`: each feature by itself, by median and median absolute deviation, which a few bad rows do not move.
    `mahalanobis`: the same, and then how features go together, by a shrunk covariance (Ledoit and Wolf 2004).

    Raises:
        FactoryError: a regime has too few rows to say what is normal there.
    """
    rows = np.asarray(features, np.float32)
    mask = np.isin(np.arange(rows.shape[1]), in_logs)
    numbers, values = regime_of(rows, regimes), _transformed(rows, mask)
    count = math.prod(len(regime.edges) + 1 for regime in regimes)
    centre, spread = np.zeros((2, count, rows.shape[1]))
    for number in range(count):
        mine = values[numbers == number]
        if len(mine) < _FEWEST_ROWS:
            message = f"regime {number + 1} of {count} has {len(mine)} rows, {_FEWEST_ROWS} are needed"
            raise FactoryError(message, "collect more of it, or give fewer or wider bins")
        centre[number] = np.median(mine, axis=0)
        spread[number] = MAD_TO_STD * np.median(np.abs(mine - centre[number]), axis=0)
    # What never varies in one regime is taken to vary as much as in the others, or as its own size.
    floor = np.maximum(np.max(spread, axis=0) * 1e-3, np.abs(centre).max(axis=0) * 1e-6) + _TINY
    spread = np.maximum(spread, floor)
    precision = np.eye(rows.shape[1])
    if method == "mahalanobis":
        away = np.clip((values - centre[numbers]) / spread[numbers], -_OUTLIER, _OUTLIER)
        precision = np.linalg.inv(ledoit_wolf(away)[0])
    return Baseline(tuple(regimes), mask, *(each.astype(np.float32) for each in (centre, spread, precision)))


def regime_of(features: Rows, regimes: Sequence[Regime]) -> npt.NDArray[np.int64]:
    """The number of the regime of each row: the bins of the first feature vary slowest."""
    numbers = np.zeros(len(features), np.int64)
    for regime in regimes:
        edges = np.array(regime.edges, np.float32)
        numbers = numbers * (len(edges) + 1) + (features[:, regime.feature, None] >= edges).sum(axis=1)
    return numbers


def score(baseline: Baseline, features: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Scores [n] and their parts [n, features] of rows [n, features]: what the graph says, in numpy."""
    rows = np.asarray(features, np.float32)
    numbers = regime_of(rows, baseline.regimes)
    values = _transformed(rows, baseline.in_logs)
    away = np.clip((values - baseline.centre[numbers]) / baseline.spread[numbers], -LARGEST, LARGEST)
    parts = away * (away @ baseline.precision) / rows.shape[1]
    return parts.sum(axis=1), parts


def make_graph(baseline: Baseline, tensor: str = "features") -> bytes:
    """`tensor` [1, features] to `score` [1] and `parts` [1, features], for the task window-anomaly.

    score = Σ parts; parts = z · (z P) / features, with z the distance to the centre of the regime in its spreads.
    """
    size, graph = baseline.centre.shape[1], Graph("baseline")
    regime = _one_hot(graph, tensor, baseline)
    away = graph.node("Sub", _logs(graph, tensor, baseline.in_logs), graph.node("MatMul", regime, baseline.centre))
    scaled = graph.node("Div", away, graph.node("MatMul", regime, baseline.spread))
    bound = np.array(LARGEST, np.float32)
    z = graph.node("Clip", scaled, -bound, bound)
    weighed = graph.node("Mul", z, graph.node("MatMul", z, baseline.precision))
    parts = graph.node("Div", weighed, np.array(size, np.float32), output="parts")
    graph.node("ReduceSum", parts, np.array([1], np.int64), output="score", keepdims=0)
    return graph.model({tensor: [1, size]}, {"score": [1], "parts": [1, size]})


def _one_hot(graph: Graph, tensor: str, baseline: Baseline) -> str:
    """[1, regimes]: one where the row belongs."""
    number = ""
    for regime in baseline.regimes:
        value = graph.node("Gather", tensor, np.array([regime.feature], np.int64), axis=1)
        above = graph.node("GreaterOrEqual", value, np.array([regime.edges], np.float32))
        found = graph.node("ReduceSum", graph.node("Cast", above, to=1), np.array([1], np.int64), keepdims=1)
        if number:
            stride = np.array(len(regime.edges) + 1, np.float32)
            found = graph.node("Add", graph.node("Mul", number, stride), found)
        number = found
    if not number:
        return graph.node("Identity", np.ones((1, 1), np.float32))
    places = np.arange(len(baseline.centre), dtype=np.float32)[None]
    return graph.node("Cast", graph.node("Equal", number, places), to=1)


def _logs(graph: Graph, tensor: str, in_logs: npt.NDArray[np.bool_]) -> str:
    if not in_logs.any():
        return tensor
    logs = graph.node("Log", graph.node("Max", tensor, np.array(_TINY, np.float32)))
    return graph.node("Where", in_logs[None], logs, tensor)


def _transformed(rows: Rows, in_logs: npt.NDArray[np.bool_]) -> Rows:
    found: Rows = np.where(in_logs, np.log(np.maximum(rows, np.float32(_TINY))), rows)
    return found
