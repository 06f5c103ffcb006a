"""Masks of classes come in; the regions of the anomalous ones, and the area of the largest, go out."""

from collections.abc import Iterator
from functools import reduce
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.inference.postprocess.candidates import Outputs
from edge_agent.inference.postprocess.regions import regions
from edge_agent.inference.postprocess.view import View, not_finite
from edge_agent.judgement import Prediction, Region
from edge_protocol.bundle import SegmentationOutput

Array = npt.NDArray[Any]


def predict_segmentation(contract: SegmentationOutput, outputs: Outputs, view: View) -> Prediction:
    """The score is the area of the largest region of an anomalous class; the peak of a region its highest value."""
    masks = outputs[contract.masks]
    masks = masks.reshape(len(contract.classes), *masks.shape[-2:])
    if not np.isfinite(masks.max()):
        what = "values of the masks"
        raise not_finite(what)
    target, (height, width) = view.placement.target, masks.shape[1:]
    rows = _share(target.y, target.height, view.contract.height, height)
    columns = _share(target.x, target.width, view.contract.width, width)
    seen = masks[:, rows, columns]
    found: list[Region] = []
    for place, mask in _members(contract, seen):
        found += regions(mask, np.ascontiguousarray(seen[place], np.float32), target, view, contract.classes[place])
    found.sort(key=lambda region: -region.area)
    return Prediction(
        score=found[0].area if found else 0.0, label=found[0].label if found else "", regions=tuple(found)
    )


def _members(contract: SegmentationOutput, masks: Array) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """For each anomalous class which pixels are its own; of equal values the first class has the pixel."""
    for place in map(contract.classes.index, contract.anomalous):
        if contract.activation == "sigmoid" or len(masks) == 1:
            # sigmoid(0) is 0.5; a class that stands alone has no other to be less likely than.
            floor = 0.0 if contract.activation == "sigmoid" else 0.5
            yield place, (masks[place] >= floor).view(np.uint8)
            continue
        mine = np.ones(masks.shape[1:], np.bool_)
        if place:
            mine &= masks[place] > reduce(cv2.max, masks[:place])
        if place + 1 < len(masks):
            mine &= masks[place] >= reduce(cv2.max, masks[place + 1 :])
        yield place, mine.view(np.uint8)


def _share(offset: int, length: int, whole: int, cells: int) -> slice:
    """The cells of a mask that lie over a stretch of the tensor, at least one."""
    first = min(cells - 1, round(offset * cells / whole))
    return slice(first, max(first + 1, round((offset + length) * cells / whole)))
