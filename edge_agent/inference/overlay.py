"""A picture and the heatmap of its verdict come in, one PNG for people goes out."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.inference.geometry import place
from edge_agent.inference.picture import GREY
from edge_protocol.bundle import ImageInput, OperatingPoint

_STRENGTH = 0.6
_FLOOR = 0.9
"""Of `accept`: patches of good parts lie below it, and would tint the whole picture."""


def draw_overlay(
    picture: npt.NDArray[np.uint8], heatmap: npt.NDArray[np.float32], contract: ImageInput, point: OperatingPoint
) -> bytes:
    """The picture as PNG with its anomalous places tinted, each at the place that the model looked at.

    Nothing is tinted below nine tenths of `accept`; from `reject` on the tint is full.
    """
    canvas: npt.NDArray[Any] = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) if picture.ndim == GREY else picture.copy()
    placement = place(contract, *picture.shape[:2])
    size = (contract.width, contract.height)
    whole = placement.target.of(cv2.resize(heatmap, size, interpolation=cv2.INTER_LINEAR))
    region = placement.source.of(canvas)
    spread = cv2.resize(whole, (placement.source.width, placement.source.height), interpolation=cv2.INTER_LINEAR)
    low = _FLOOR * point.accept
    heat = np.clip((spread - low) / max(point.reject - low, 1e-9), 0, 1)
    tint = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    alpha = (heat * _STRENGTH)[..., None]
    region[...] = (region * (1 - alpha) + tint * alpha).astype(np.uint8)
    _ok, encoded = cv2.imencode(".png", canvas)
    return encoded.tobytes()
