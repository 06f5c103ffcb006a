"""A detector's outputs in each of the forms that a contract names come in; boxes, scores and classes go out.

Only what reaches `min_score` is ever copied: of a heat map of 1.3 million values, the neighbourhood of a few peaks.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.inference.postprocess.view import View, not_finite
from edge_protocol.bundle import DetectionOutput

Array = npt.NDArray[Any]
Outputs = Mapping[str, Array]

MAX_CANDIDATES = 2000
"""The strongest that are compared with each other: a model that sees things everywhere must not stop the line."""

_BLOCK = 1024
"""Values that are looked at together: of a large heat map few blocks hold anything, and only these are looked into."""

_PACKED = 6
_CORNERS = 4
_AROUND = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0))


@dataclass(frozen=True, slots=True)
class Candidates:
    """Boxes [n, 4] as x1 y1 x2 y2 in pixels of the tensor, scores [n], numbers of classes [n]; strongest first."""

    boxes: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]

    def take(self, which: npt.NDArray[np.int64]) -> "Candidates":
        """Those of the given places, in that order."""
        return Candidates(self.boxes[which], self.scores[which], self.labels[which])


def candidates(contract: DetectionOutput, outputs: Outputs, view: View) -> Candidates:
    """What the model saw with at least `min_score`.

    Raises:
        InferenceError: ENGINE_FAULT: scores or boxes that are not finite.
        ValueError: outputs of another shape, or classes that the contract does not name.
    """
    found = _FORMS[contract.form](contract, outputs, view)
    labels = found.labels
    if labels.size and not 0 <= labels.min() <= labels.max() < len(contract.classes):
        message = f"classes {labels.min()} to {labels.max()}"
        raise ValueError(message)
    if not (np.isfinite(found.boxes).all() and np.isfinite(found.scores).all()):
        what = "the boxes"
        raise not_finite(what)
    # Stable, so that of equal scores the first of the graph's stays the first on every machine.
    return found.take(np.argsort(-found.scores, kind="stable")[:MAX_CANDIDATES])


def _packed(contract: DetectionOutput, outputs: Outputs, view: View) -> Candidates:
    rows = _rows(outputs[contract.boxes], _PACKED)
    which, _ = _reaching(contract, rows[:, 4:5])
    seen = rows[which]
    return Candidates(_in_pixels(contract, seen[:, :4], view), _activated(contract, seen[:, 4]), _whole(seen[:, 5]))


def _split(contract: DetectionOutput, outputs: Outputs, view: View) -> Candidates:
    boxes = _rows(outputs[contract.boxes], _CORNERS)
    # One box may stand for two classes: a "rider" must not hide the "person" that a zone asks for.
    classes = 1 if contract.labels else len(contract.classes)
    scores = outputs[contract.scores].reshape(len(boxes), classes)
    which, labels = _reaching(contract, scores)
    values = scores[which, labels]
    if contract.labels:
        labels = _whole(outputs[contract.labels].reshape(len(boxes))[which])
    corners = boxes[which].astype(np.float64)
    if contract.corners == "cxcywh":
        middle, half = corners[:, :2], corners[:, 2:] / 2
        corners = np.hstack((middle - half, middle + half))
    return Candidates(_in_pixels(contract, corners, view), _activated(contract, values), labels)


def _centernet(contract: DetectionOutput, outputs: Outputs, view: View) -> Candidates:
    """A centre is a cell that no neighbour in its class exceeds; cell (0, 0) lies at (0, 0) of the tensor."""
    heat, sides = outputs[contract.scores], outputs[contract.boxes]
    height, width, classes = heat.shape[-3:]
    heat, sides = heat.reshape(height, width, classes), sides.reshape(height * width, _CORNERS)
    if classes != len(contract.classes):
        message = f"heat of {classes} classes"
        raise ValueError(message)
    cells, labels = _reaching(contract, heat.reshape(-1, classes))
    rows, columns = np.divmod(cells, width)
    values, is_peak = heat[rows, columns, labels], np.ones(len(cells), bool)
    for dy, dx in _AROUND:  # at the rim a neighbour is clipped onto a cell of the same 3 × 3
        y, x = np.clip(rows + dy, 0, height - 1), np.clip(columns + dx, 0, width - 1)
        is_peak &= heat[y, x, labels] <= values
    left, top, right, bottom = _in_pixels(contract, sides[cells[is_peak]], view).T
    x, y = columns[is_peak] * (view.contract.width / width), rows[is_peak] * (view.contract.height / height)
    boxes = np.stack((x - left, y - top, x + right, y + bottom), axis=1)
    return Candidates(boxes, _activated(contract, values[is_peak]), labels[is_peak])


def _rows(values: Array, length: int) -> Array:
    """[1, n, length] without the batch."""
    if values.shape[-1] != length:
        message = f"rows of {values.shape[-1]} values, {length} are expected"
        raise ValueError(message)
    return values.reshape(-1, length)


def _whole(numbers: Array) -> npt.NDArray[np.int64]:
    labels = numbers.astype(np.int64)
    if not np.array_equal(labels, numbers):
        message = "classes that are no whole numbers"
        raise ValueError(message)
    return labels


def _reaching(contract: DetectionOutput, values: Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows and columns of [n, k] where `min_score` is reached, by a look at the largest of each block.

    Asked of the values as they come, so that few need an activation.
    """
    floor = contract.min_score
    if contract.activation == "sigmoid":
        floor = math.log(floor / (1 - floor)) if 0 < floor < 1 else math.copysign(math.inf, floor - 0.5)
    flat, classes = values.reshape(-1), values.shape[1]
    if not flat.size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    block = max(1, _BLOCK // classes) * classes
    best = np.maximum.reduceat(flat, np.arange(0, flat.size, block))
    if np.isnan(best).any():  # every comparison with it is false: it would look like a picture with nothing in it
        what = "the scores"
        raise not_finite(what)
    places = (np.flatnonzero(best >= floor)[:, None] * block + np.arange(block)).reshape(-1)
    places = places[places < flat.size]
    return np.divmod(places[flat[places] >= floor], classes)


def _activated(contract: DetectionOutput, values: Array) -> npt.NDArray[np.float64]:
    scores = values.astype(np.float64)
    if contract.activation == "sigmoid":
        scores = 1 / (1 + np.exp(-scores))
    return scores


def _in_pixels(contract: DetectionOutput, boxes: Array, view: View) -> npt.NDArray[np.float64]:
    shares = contract.units == "shares"
    width, height = (view.contract.width, view.contract.height) if shares else (1, 1)
    scaled: npt.NDArray[np.float64] = boxes.astype(np.float64) * (width, height, width, height)
    return scaled


_FORMS: dict[str, Callable[[DetectionOutput, Outputs, View], Candidates]] = {
    "packed": _packed,
    "split": _split,
    "centernet": _centernet,
}
