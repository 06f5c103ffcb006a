"""Which pixels of a grid over the tensor count comes in; regions of the source picture go out, largest first.

The work is done on the grid, and only the outlines are brought to the source: no frame is ever allocated.
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.inference.geometry import Box
from edge_agent.inference.postprocess.view import View
from edge_agent.judgement import Region

MAX_REGIONS = 32
"""The largest that are told: a picture that is anomalous everywhere says no more with a thousand."""

_COARSE = 2.0
"""Pixels of the source: an outline drawn finer than that is told as it is."""

Contour = npt.NDArray[Any]


def regions(
    mask: npt.NDArray[np.uint8], values: npt.NDArray[np.float32], window: Box, view: View, label: str = ""
) -> list[Region]:
    """The regions of `mask` [h, w], which lies over `window` of the tensor; holes belong to the region around them.

    `values` [h, w] have the peak of each region.
    """
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    largest = sorted(contours, key=_size, reverse=True)[:MAX_REGIONS]
    if not largest:
        return []
    cell = np.array((window.width / mask.shape[1], window.height / mask.shape[0]))
    area = float(np.prod(cell) * np.prod(view.placement.px_per_px)) * (view.contract.mm_per_px**2 or 1.0)
    step = float(max(cell * view.placement.px_per_px))
    corners = np.concatenate(largest)[:, 0]
    ends = np.cumsum([len(contour) for contour in largest])
    pixels = _pixels(corners, ends, [cv2.contourArea(contour) for contour in largest])
    outlines = view.placement.to_source((corners + 0.5) * cell + (window.x, window.y)).astype(np.int32)
    found = [
        Region(_simple(outline, step), count * area, _peak(np.asarray(contour), values), label)
        for contour, count, outline in zip(largest, pixels, np.split(outlines, ends[:-1]), strict=True)
    ]
    return sorted(found, key=lambda region: -region.area)


def _size(contour: Contour) -> float:
    """About the pixels of a region, to choose the largest by; of a diagonal line a little more than it has."""
    return cv2.contourArea(contour) + cv2.arcLength(contour, closed=True) / 2


def _pixels(corners: Contour, ends: npt.NDArray[np.int64], areas: list[float]) -> list[int]:
    """How many pixels outlines of straight and diagonal steps enclose, themselves among them: Pick's theorem."""
    starts = np.concatenate(([0], ends[:-1]))
    before = np.arange(len(corners)) - 1
    before[starts] = ends - 1
    steps = np.add.reduceat(np.abs(corners - corners[before]).max(axis=1), starts)
    return [round(area + count / 2 + 1) for area, count in zip(areas, steps.tolist(), strict=True)]


def _peak(contour: Contour, values: npt.NDArray[np.float32]) -> float:
    x, y, width, height = cv2.boundingRect(contour)
    inside = np.zeros((height, width), np.uint8)
    cv2.drawContours(inside, [contour], -1, 255, cv2.FILLED, offset=(-x, -y))
    _, peak, _, _ = cv2.minMaxLoc(values[y : y + height, x : x + width], inside)
    return peak


def _simple(outline: npt.NDArray[np.int32], step: float) -> npt.NDArray[np.int32]:
    """Where a step of the grid is many pixels, without what is less than half a step off a straight line."""
    if step > _COARSE:
        return np.asarray(cv2.approxPolyDP(outline, step / 2, closed=True), np.int32).reshape(-1, 2)
    return outline
