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

MAX_REGIONS = 64
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
    cell = np.array((window.width / mask.shape[1], window.height / mask.shape[0]))
    area = float(np.prod(cell) * np.prod(view.placement.px_per_px)) * (view.contract.mm_per_px**2 or 1.0)
    step = float(max(cell * view.placement.px_per_px))
    found = []
    largest = sorted(((_pixels(contour), at) for at, contour in enumerate(contours)), reverse=True)[:MAX_REGIONS]
    for pixels, at in largest:
        contour = np.asarray(contours[at])
        corners = contour.reshape(-1, 2)
        outline = view.placement.to_source((corners + 0.5) * cell + (window.x, window.y))
        found.append(Region(_simple(outline, step), pixels * area, _peak(contour, values), label))
    return found


def _pixels(contour: Contour) -> int:
    """How many pixels an outline of straight and diagonal steps encloses, itself among them: Pick's theorem."""
    corners = contour.reshape(-1, 2)
    steps = int(np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1).sum())
    return round(cv2.contourArea(contour) + steps / 2 + 1)


def _peak(contour: Contour, values: npt.NDArray[np.float32]) -> float:
    x, y, width, height = cv2.boundingRect(contour)
    inside = np.zeros((height, width), np.uint8)
    cv2.drawContours(inside, [contour], -1, 255, cv2.FILLED, offset=(-x, -y))
    _, peak, _, _ = cv2.minMaxLoc(values[y : y + height, x : x + width], inside)
    return peak


def _simple(outline: npt.NDArray[np.float64], step: float) -> npt.NDArray[np.int32]:
    """Whole pixels; where a step of the grid is many of them, without what is less than half a step off a line."""
    corners = outline.astype(np.int32)
    if step > _COARSE:
        corners = np.asarray(cv2.approxPolyDP(corners, step / 2, closed=True), np.int32).reshape(-1, 2)
    return corners
