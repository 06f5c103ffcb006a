"""Patch features of good parts come in, a head goes out that says how far each patch of a new part is from all of them.

PatchCore (Roth et al. 2022) with a scale of its own for each prototype, so that a coarse surface and a fine one share
one threshold. The head lives in the graph, in single precision whatever the backbone's arithmetic.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloud_hub.factory.coreset import greedy_k_center
from cloud_hub.factory.efficientnet import FEAT16, FEAT32
from cloud_hub.factory.graph import Graph

Floats = npt.NDArray[np.float32]

SIDE = FEAT16[1]
CHANNELS = FEAT16[0] + FEAT32[0]
TOP = 5
"""The score is the mean of the five most anomalous patches: one patch alone is noise."""

PREFIX = "head_"
"""So the names of its nodes begin, in the graph that it is joined to."""

_MAPS = {"feat16": [1, FEAT16[0], SIDE, SIDE], "feat32": [1, FEAT32[0], FEAT32[1], FEAT32[1]]}
_TINY = 1e-12
_DIMENSIONS = 192
_CANDIDATES = 12_000
_PRIOR = 50.0
"""How many patches of average distance each prototype's scale starts from."""


@dataclass(frozen=True, slots=True)
class Head:
    """`x @ weight + bias` is a patch in the space of the prototypes; `scales` are distances that are usual there."""

    weight: Floats
    bias: Floats
    prototypes: Floats
    scales: Floats


def make_patches() -> bytes:
    """A graph from `feat16` and `feat32` to `patches` [196, 432], to join to a backbone while a head is fitted."""
    graph = Graph("patches", PREFIX)
    graph.node("Identity", _add_patches(graph), output="patches")
    return graph.model(_MAPS, {"patches": [SIDE * SIDE, CHANNELS]})


def make_head(head: Head) -> bytes:
    """The head as a graph from `feat16` and `feat32` to `map` [1,14,14] and `score` [1], to join to a backbone."""
    graph = Graph("anomaly-head", PREFIX)
    points = graph.node("Gemm", _add_patches(graph), head.weight, head.bias)
    squares = graph.node("ReduceSumSquare", points, axes=[1], keepdims=1)
    matrix, constant = _distance_matrix(head.prototypes, head.scales)
    distances = graph.node("Gemm", graph.node("Concat", points, squares, axis=1), matrix, constant)
    nearest = graph.node("ReduceMin", distances, axes=[1], keepdims=0)
    root = graph.node("Sqrt", graph.node("Max", nearest, np.zeros(1, np.float32)))
    graph.node("Reshape", root, np.array([1, SIDE, SIDE], np.int64), output="map")
    top = graph.node("TopK", root, np.array([TOP], np.int64), more_outputs=[f"{PREFIX}places"], axis=0)
    graph.node("ReduceMean", top, axes=[0], keepdims=1, output="score")
    return graph.model(_MAPS, {"map": [1, SIDE, SIDE], "score": [1]})


def align(head: Head, exact: Floats, rounded: Floats) -> Head:
    """The head for a backbone whose arithmetic makes `rounded` of the patches that are `exact` in single precision.

    Each channel gets the line that leads back. Its slope is the geometric mean of the one that predicts best, which
    shrinks distances, and the one that keeps the spread, which keeps the noise in them: scores stay where they were.
    """
    x, y = (values.reshape(-1, CHANNELS).astype(np.float64) for values in (rounded, exact))
    covariance = ((x - x.mean(axis=0)) * (y - y.mean(axis=0))).mean(axis=0)
    predicts, keeps = covariance / (x.var(axis=0) + _TINY), y.std(axis=0) / (x.std(axis=0) + _TINY)
    slope = np.sqrt(np.maximum(predicts, 0) * keeps)
    shift = y.mean(axis=0) - slope * x.mean(axis=0)
    weight = (slope[:, None] * head.weight).astype(np.float32)
    return Head(weight, (head.bias + shift @ head.weight).astype(np.float32), head.prototypes, head.scales)


def fit_head(folds: Sequence[Floats], size: int, rng: np.random.Generator) -> tuple[Head, Floats]:
    """A head of `size` prototypes, and for each tile the score of a head that has never seen its fold.

    `folds` are patches [tiles, 196, 432] of places that share no pixel. The scores of one fold under the prototypes of
    the others are what a threshold may be set on: tiles that overlap the training tiles would promise too much.
    """
    weight, bias = _fit_projection(np.concatenate(folds))
    points = [fold.reshape(-1, CHANNELS) @ weight + bias for fold in folds]
    banks = [_choose(p, size // len(folds), rng) for p in points]
    distances = [
        np.min([_nearest(p, bank)[0] for j, bank in enumerate(banks) if j != i], axis=0) for i, p in enumerate(points)
    ]
    prototypes = _choose(np.concatenate(points), size, rng)
    crossed = np.concatenate(distances)
    owner = _nearest(np.concatenate(points), prototypes)[1]
    sums = np.bincount(owner, crossed, size) + _PRIOR * crossed.mean()
    scales = (sums / (np.bincount(owner, minlength=size) + _PRIOR)).astype(np.float32)
    scaled = (crossed / scales[owner]).reshape(-1, SIDE * SIDE)
    return Head(weight, bias, prototypes, scales), np.sort(scaled, axis=1)[:, -TOP:].mean(axis=1)


def _fit_projection(patches: Floats) -> tuple[Floats, Floats]:
    """Standardise each channel and keep the directions of largest variance, as one matrix and one bias."""
    rows = patches.reshape(-1, CHANNELS)[::4].astype(np.float64)
    mean, deviation = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    _values, vectors = np.linalg.eigh(np.cov(((rows - mean) / deviation).T))
    weight = vectors[:, ::-1][:, :_DIMENSIONS] / deviation[:, None]
    return weight.astype(np.float32), (-mean @ weight).astype(np.float32)


def _choose(points: Floats, size: int, rng: np.random.Generator) -> Floats:
    candidates = points[rng.permutation(len(points))[:_CANDIDATES]]
    chosen: Floats = candidates[greedy_k_center(candidates, size, rng)]
    return chosen


def _nearest(points: Floats, prototypes: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Distance to the nearest prototype, and which one it is."""
    matrix, constant = _distance_matrix(prototypes, np.ones(len(prototypes), np.float32))
    distances, owners = [], []
    for rows in np.array_split(points, max(1, len(points) // 4096)):
        squared = np.concatenate([rows, np.square(rows).sum(axis=1, keepdims=True)], axis=1) @ matrix + constant
        owners.append(squared.argmin(axis=1))
        distances.append(np.sqrt(np.maximum(squared.min(axis=1), 0)))
    return np.concatenate(distances), np.concatenate(owners)


def _add_patches(graph: Graph) -> str:
    """Both maps at 14 × 14, channel upon channel, as rows."""
    size, empty = np.array([1, FEAT32[0], SIDE, SIDE], np.int64), np.zeros(0, np.float32)
    fine = graph.node("Resize", "feat32", "", empty, size, mode="linear", coordinate_transformation_mode="half_pixel")
    joined = graph.node("Concat", "feat16", fine, axis=1)
    rows = graph.node("Reshape", joined, np.array([CHANNELS, SIDE * SIDE], np.int64))
    return graph.node("Transpose", rows, perm=[1, 0])


def _distance_matrix(prototypes: Floats, scales: Floats) -> tuple[Floats, Floats]:
    """M and c such that [x, |x|²] @ M + c are the squared distances to the prototypes over their squared scales."""
    inverse = 1 / np.square(scales.astype(np.float64))
    centres = prototypes.astype(np.float64)
    matrix = np.vstack([-2 * centres.T * inverse, inverse])
    return matrix.astype(np.float32), (np.square(centres).sum(axis=1) * inverse).astype(np.float32)
