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

Contour = npt.NDArray[Any]


def regions(
    mask: npt.NDArray[np.uint8], values: npt.NDArray[np.float32], window: Box, view: View, label: str = ""
) -> list[Region]:
    """The regions of `mask` [h, w], which lies over `window` of the tensor; holes belong to the region around them.

    `values` [h, w] have the peak of each region.
    """
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cell = np.array((window.width / mask.shape[1], window.height / mask.shape[0]))
    area = float(np.prod(cell) * np.prod(view.placement.px_per_px)) * (view.contract.mm_per_px**2 or 1.0)
    found = []
    largest = sorted(((_pixels(contour), at) for at, contour in enumerate(contours)), reverse=True)[:MAX_REGIONS]
    for pixels, at in largest:
        contour = np.asarray(contours[at])
        corners = contour.reshape(-1, 2)
        outline = view.placement.to_source((corners + 0.5) * cell + (window.x, window.y))
        found.append(Region(_simple(outline), pixels * area, _peak(contour, values), label))
    return found


def _pixels(contour: Contour) -> int:
    """How many pixels an outline of whole steps encloses, itself among them: Pick's theorem."""
    return round(cv2.contourArea(contour) + (len(contour) if len(contour) > 1 else 0) / 2 + 1)


def _peak(contour: Contour, values: npt.NDArray[np.float32]) -> float:
    x, y, width, height = cv2.boundingRect(contour)
    inside = np.zeros((height, width), np.uint8)
    cv2.drawContours(inside, [contour], -1, 255, cv2.FILLED, offset=(-x, -y))
    _, peak, _, _ = cv2.minMaxLoc(values[y : y + height, x : x + width], inside)
    return peak


def _simple(outline: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    """Whole pixels, without the points that lie on a straight line between others."""
    simple = cv2.approxPolyDP(outline.astype(np.int32), 0.5, closed=True)
    return np.asarray(simple, np.int32).reshape(-1, 2)
