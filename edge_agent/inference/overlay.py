"""A source picture and what a model said of it come in, one picture for people goes out.

Heat as a tint, regions with their areas, things in boxes, zones with a broken one in red. Never drawn on the hot path.
"""

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.inference.geometry import place
from edge_agent.inference.picture import GREY
from edge_agent.judgement import Detection, Prediction, Region
from edge_protocol.bundle import ImageInput, OperatingPoint

Picture = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

RED, GREEN, WHITE, BLACK = (60, 60, 255), (90, 200, 60), (255, 255, 255), (0, 0, 0)
LABELLED = 8
"""Regions that have their area beside them, the largest: more would hide the part."""

_STRENGTH = 0.6
_FLOOR = 0.9
"""Of `accept`: patches of good parts lie below it, and would tint the whole picture."""

_SHADE = 0.2
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_overlay(picture: Picture, prediction: Prediction, contract: ImageInput, point: OperatingPoint) -> bytes:
    """`draw` as PNG."""
    _ok, encoded = cv2.imencode(".png", draw(picture, prediction, contract, point))
    return encoded.tobytes()


def draw(picture: Picture, prediction: Prediction, contract: ImageInput, point: OperatingPoint) -> Picture:
    """A copy of the picture, which has the source's full size, with everything at the place that the model looked at.

    Nothing is tinted below nine tenths of `accept`; from `reject` on the tint is full.
    """
    canvas = np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) if picture.ndim == GREY else picture.copy(), np.uint8)
    if prediction.heatmap is not None:
        _tint(canvas, prediction.heatmap, contract, point)
    _draw_zones(canvas, prediction, point)
    _draw_regions(canvas, prediction.regions, "mm2" if contract.mm_per_px else "px")
    _draw_things(canvas, prediction.detections, is_break=not point.zones)
    return canvas


def _tint(canvas: Picture, heatmap: npt.NDArray[np.float32], contract: ImageInput, point: OperatingPoint) -> None:
    placement = place(contract, *canvas.shape[:2])
    size = (contract.width, contract.height)
    whole = placement.target.of(cv2.resize(heatmap, size, interpolation=cv2.INTER_LINEAR))
    region = placement.source.of(canvas)
    spread = cv2.resize(whole, (placement.source.width, placement.source.height), interpolation=cv2.INTER_LINEAR)
    low = _FLOOR * point.accept
    heat = np.clip((np.nan_to_num(spread) - low) / max(point.reject - low, 1e-9), 0, 1)
    tint = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    alpha = (heat * _STRENGTH)[..., None]
    region[...] = (region * (1 - alpha) + tint * alpha).astype(np.uint8)


def _draw_zones(canvas: Picture, prediction: Prediction, point: OperatingPoint) -> None:
    broken = {each.zone for each in prediction.breaks if each.score >= point.accept}
    for zone in point.zones:
        corners = (np.array(zone.polygon) * canvas.shape[1::-1]).astype(np.int32)
        colour = RED if zone.name in broken else GREEN
        if zone.name in broken:
            shade = canvas.copy()
            cv2.fillPoly(shade, [corners], colour)
            cv2.addWeighted(shade, _SHADE, canvas, 1 - _SHADE, 0, canvas)
        cv2.polylines(canvas, [corners], True, colour, _thick(canvas))
        _write(canvas, zone.name, corners[corners.sum(axis=1).argmin()], colour)


def _draw_regions(canvas: Picture, regions: Iterable[Region], unit: str) -> None:
    for rank, region in enumerate(regions):
        cv2.polylines(canvas, [region.outline], True, WHITE, _thick(canvas) + 2)
        cv2.polylines(canvas, [region.outline], True, RED, _thick(canvas))
        if rank < LABELLED:
            _write(canvas, f"{region.label} {_number(region.area)} {unit}".strip(), region.outline.min(axis=0), RED)


def _draw_things(canvas: Picture, things: Iterable[Detection], *, is_break: bool) -> None:
    for thing in things:
        left, top, right, bottom = map(round, thing.box)
        colour = RED if is_break or thing.zones else GREEN
        cv2.rectangle(canvas, (left, top), (right, bottom), colour, _thick(canvas))
        _write(canvas, f"{thing.label} {thing.score:.2f}", np.array((left, top)), colour)


def _write(canvas: Picture, text: str, at: npt.NDArray[Any], colour: Colour) -> None:
    """`text` above `at`, on a plate in `colour`, moved so that all of it lies in the picture."""
    scale = 0.45 * _thick(canvas)
    (width, height), below = cv2.getTextSize(text, _FONT, scale, 1)
    x = int(np.clip(at[0], 0, max(0, canvas.shape[1] - width)))
    y = int(np.clip(at[1] - below, height + 1, max(height + 1, canvas.shape[0] - below)))
    cv2.rectangle(canvas, (x, y - height - 2), (x + width, y + below), colour, cv2.FILLED)
    cv2.putText(canvas, text, (x, y), _FONT, scale, BLACK if colour == GREEN else WHITE, 1, cv2.LINE_AA)


def _number(area: float) -> str:
    return f"{area:.3g}" if area < 100 else f"{area:,.0f}"


def _thick(canvas: Picture) -> int:
    """The width of a line, by which letters grow too: 1 for small pictures, 2 at 1080p."""
    return max(1, round(int(max(canvas.shape[:2])) / 1000))
