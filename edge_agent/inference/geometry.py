"""A picture of any size comes in, one of the contract's size goes out: region of interest, geometry, resize.

Every buffer is kept, so pictures of one size allocate nothing after the first. Not for two threads at once.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.errors import InferenceError
from edge_agent.inference.picture import COLOUR
from edge_protocol.bundle import ImageInput
from edge_protocol.codes import Reason

Picture = npt.NDArray[np.uint8]

_INTERPOLATION = {
    "area-pyramid": cv2.INTER_AREA,
    "area": cv2.INTER_AREA,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
}


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels."""

    x: int
    y: int
    width: int
    height: int

    def of(self, picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The view of `picture` inside this box."""
        return picture[self.y : self.y + self.height, self.x : self.x + self.width]


@dataclass(frozen=True, slots=True)
class Placement:
    """What of the picture is judged (`source`), and where in the contract's frame it lies (`target`)."""

    source: Box
    target: Box


def place(contract: ImageInput, height: int, width: int) -> Placement:
    """Where a picture of this size goes. Sides round half up; what is left over at odd sizes lies right and below.

    Raises:
        InferenceError: WRONG_SHAPE: the region of interest does not lie within the picture.
    """
    source = Box(*(contract.roi or (0, 0, width, height)))
    if source.x + source.width > width or source.y + source.height > height:
        message = f"the region of interest {contract.roi} does not lie within {width} × {height} pixels"
        raise InferenceError(message, "set the camera to the size that the bundle was made for", Reason.WRONG_SHAPE)
    target = Box(0, 0, contract.width, contract.height)
    is_wide = source.width * target.height > source.height * target.width
    if contract.geometry == "crop":
        return Placement(_centre(source, _fit(target, source, by_height=is_wide)), target)
    if contract.geometry == "letterbox":
        return Placement(source, _centre(target, _fit(source, target, by_height=not is_wide)))
    return Placement(source, target)


class Geometry:
    """Brings pictures to the contract's size."""

    def __init__(self, contract: ImageInput) -> None:
        self._contract = contract
        self._shape: tuple[int, ...] = ()
        self._placement = Placement(Box(0, 0, 0, 0), Box(0, 0, 0, 0))
        self._buffers: dict[tuple[int, ...], Picture] = {}

    def fit(self, picture: Picture) -> Picture:
        """The picture at the contract's size, valid until the next call. Its colours stay as they are.

        Raises:
            InferenceError: WRONG_SHAPE: the region of interest does not lie within the picture.
        """
        if picture.shape != self._shape:
            self._placement = place(self._contract, picture.shape[0], picture.shape[1])
            self._shape = picture.shape
            self._buffers.clear()
        source, target = self._placement.source.of(picture), self._placement.target
        if self._contract.colour == "gray" and source.ndim == COLOUR:
            source = cv2.cvtColor(source, cv2.COLOR_BGR2GRAY, self._buffer(source.shape[:2], stage=0))
        fitted = self._resize(source, target.width, target.height)
        return self._on_canvas(fitted) if self._contract.geometry == "letterbox" else fitted

    def _resize(self, picture: Picture, width: int, height: int) -> Picture:
        if self._contract.resize == "area-pyramid":
            # Exact halving is vectorised: with it 1080p → 224 takes a fifth of direct AREA, and no scratch is lost.
            while _halves(picture, width, height):
                half = (picture.shape[0] // 2, picture.shape[1] // 2, *picture.shape[2:])
                cv2.resize(picture, (half[1], half[0]), self._buffer(half, stage=1), interpolation=cv2.INTER_AREA)
                picture = self._buffer(half, stage=1)
        if picture.shape[:2] == (height, width):
            return picture
        fitted = self._buffer((height, width, *picture.shape[2:]), stage=2)
        cv2.resize(picture, (width, height), fitted, interpolation=_INTERPOLATION[self._contract.resize])
        return fitted

    def _on_canvas(self, fitted: Picture) -> Picture:
        canvas = self._buffer((self._contract.height, self._contract.width, *fitted.shape[2:]), stage=3)
        self._placement.target.of(canvas)[...] = fitted
        return canvas

    def _buffer(self, shape: tuple[int, ...], stage: int) -> Picture:
        key = (stage, *shape)
        if key not in self._buffers:
            self._buffers[key] = np.full(shape, self._contract.pad_value, np.uint8)
        return self._buffers[key]


def _halves(picture: Picture, width: int, height: int) -> bool:
    h, w = picture.shape[:2]
    return bool(h % 2 == 0 and w % 2 == 0 and h >= 2 * height and w >= 2 * width)


def _fit(box: Box, into: Box, *, by_height: bool) -> tuple[int, int]:
    """Width and height of the largest box of the proportions of `box` in `into`, which it fills by height or width."""
    if by_height:
        return min(into.width, max(1, _round(box.width * into.height, box.height))), into.height
    return into.width, min(into.height, max(1, _round(box.height * into.width, box.width)))


def _centre(outer: Box, size: tuple[int, int]) -> Box:
    width, height = size
    return Box(outer.x + (outer.width - width) // 2, outer.y + (outer.height - height) // 2, width, height)


def _round(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)
