"""Boxes that may mean the same thing come in, strongest first; the places of those that stay go out."""

from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.inference.postprocess.candidates import Candidates

Array = npt.NDArray[Any]


_BLOCK = 64
"""Boxes that are compared with all others at once: with `MAX_CANDIDATES` of them 1 MB for each number of a box."""


def suppress(found: Candidates, iou: float, limit: int) -> npt.NDArray[np.int64]:
    """Greedy, class by class: of two of one class that overlap by more than `iou` the weaker goes; `limit` stay."""
    left = np.arange(len(found.scores))
    kept: list[int] = []
    while left.size and len(kept) < limit:
        first, rest = left[:_BLOCK], left[_BLOCK:]
        clash = found.labels[first, None] == found.labels[left]
        clash &= _overlaps(found.boxes[first], found.boxes[left]) > iou
        stays = np.ones(left.size, np.bool_)
        for row, place in enumerate(first.tolist()):
            if stays[row]:
                kept.append(place)
                stays &= ~clash[row]
        left = rest[stays[_BLOCK:]]
    return np.array(kept[:limit], np.int64)


def _overlaps(some: Array, others: Array) -> Array:
    """Intersection over union of each of [m, 4] with each of [n, 4]."""
    x1, y1, x2, y2 = some.T[:, :, None]
    left, top, right, bottom = others.T
    width, height = np.minimum(x2, right) - np.maximum(x1, left), np.minimum(y2, bottom) - np.maximum(y1, top)
    shared = width.clip(0) * height.clip(0)
    both: Array = _areas(some)[:, None] + _areas(others)
    overlaps: Array = shared / np.maximum(both - shared, 1e-12)
    return overlaps


def _areas(boxes: Array) -> Array:
    areas: Array = (boxes[:, 2] - boxes[:, 0]).clip(0) * (boxes[:, 3] - boxes[:, 1]).clip(0)
    return areas
