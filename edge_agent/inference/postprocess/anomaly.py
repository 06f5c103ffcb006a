"""A map of distances and a score come in; where the part is anomalous goes out, for those that are not OK."""

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.inference.geometry import Box
from edge_agent.inference.postprocess.candidates import Outputs
from edge_agent.inference.postprocess.regions import regions
from edge_agent.inference.postprocess.view import View, not_finite
from edge_agent.judgement import Prediction, Region
from edge_protocol.bundle import AnomalyOutput

GRID = 512
"""Sides of the grid on which outlines are drawn, at most: their cost must not grow with the tensor, see `regions`."""

Map = npt.NDArray[np.float32]


def predict_anomaly(contract: AnomalyOutput, outputs: Outputs, view: View | None) -> Prediction:
    """Score and map as they are. Regions only from `accept` on: a good part pays nothing for them."""
    heatmap = outputs[contract.map].reshape(outputs[contract.map].shape[-2:])
    score = float(outputs[contract.score].reshape(1)[0])
    is_good = view is None or not score >= view.point.accept
    return Prediction(score, heatmap, regions=() if is_good or view is None else find_regions(heatmap, view))


def find_regions(heatmap: Map, view: View) -> tuple[Region, ...]:
    """Where the map reaches `accept`, in the source picture, largest first.

    Raises:
        InferenceError: ENGINE_FAULT: the map is not finite.
    """
    if not np.isfinite(heatmap).all():
        what = "values of the map"
        raise not_finite(what)
    values = heatmap.astype(np.float32, copy=False)
    # Smooth outlines lose the tip of a hot cell that stands alone: rather a square than nothing to show.
    for interpolation in (cv2.INTER_LINEAR, cv2.INTER_NEAREST):
        grid = over_tensor(values, view, interpolation)
        if found := regions((grid >= view.point.accept).view(np.uint8), grid, view.placement.target, view):
            return tuple(found)
    return ()


def over_tensor(heatmap: Map, view: View, interpolation: int = cv2.INTER_LINEAR) -> Map:
    """The map over that part of the tensor where the picture lies."""
    width, height = view.contract.width, view.contract.height
    step = max(1.0, max(width, height) / GRID)
    whole = cv2.resize(heatmap, (round(width / step), round(height / step)), interpolation=interpolation)
    target = view.placement.target
    left, top = round(target.x / step), round(target.y / step)
    right, bottom = round((target.x + target.width) / step), round((target.y + target.height) / step)
    window = Box(left, top, max(1, right - left), max(1, bottom - top))
    return np.ascontiguousarray(window.of(whole), np.float32)
