"""Boxes that may mean the same thing come in, strongest first; the places of those that stay go out."""

from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.inference.postprocess.candidates import Candidates

Array = npt.NDArray[Any]


def suppress(found: Candidates, iou: float, limit: int) -> npt.NDArray[np.int64]:
    """Greedy, class by class: of two of one class that overlap by more than `iou` the weaker goes; `limit` stay.

    Each step compares one box with all that are left: memory for one row of numbers, never for all pairs.
    """
    left = np.arange(len(found.scores))
    kept: list[np.int64] = []
    areas = _areas(found.boxes)
    while left.size and len(kept) < limit:
        first, rest = left[0], left[1:]
        kept.append(first)
        same = (found.labels[rest] == found.labels[first]) & (
            _overlaps(found.boxes[first], areas[first], found.boxes[rest], areas[rest]) > iou
        )
        left = rest[~same]
    return np.array(kept, np.int64)


def _areas(boxes: Array) -> Array:
    areas: Array = np.clip(boxes[:, 2] - boxes[:, 0], 0, None) * np.clip(boxes[:, 3] - boxes[:, 1], 0, None)
    return areas


def _overlaps(box: Array, area: float, others: Array, areas: Array) -> Array:
    """Intersection over union of a box with others."""
    corner = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = np.prod(np.clip(corner, 0, None), axis=1)
    overlaps: Array = shared / np.maximum(area + areas - shared, 1e-12)
    return overlaps
