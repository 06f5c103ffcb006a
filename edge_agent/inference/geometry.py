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
    """What of the decoded picture is judged (`source`), and where in the contract's frame it lies (`target`).

    `size` is height and width of the source picture, of which the decoder may have given one `reduced` times smaller.
    """

    source: Box
    target: Box
    size: tuple[int, int]
    reduced: int = 1

    @property
    def px_per_px(self) -> tuple[float, float]:
        """Pixels of the source picture to one of the tensor, along x and y."""
        across = self.reduced * self.source.width / self.target.width
        return across, self.reduced * self.source.height / self.target.height

    def to_source(self, points: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Places [..., 2] in pixels of the tensor, as x and y, in pixels of the source picture; none outside of it."""
        offset = np.array((self.source.x, self.source.y)) * self.reduced
        moved = (points - (self.target.x, self.target.y)) * self.px_per_px + offset
        clipped: npt.NDArray[np.float64] = np.clip(moved, 0.0, self.size[::-1])
        return clipped


def place(contract: ImageInput, height: int, width: int, reduced: int = 1) -> Placement:
    """Where a source picture of this size goes. Sides round half up; what is left at odd sizes lies right and below.

    Of a picture that was decoded `reduced` times smaller, the region of interest takes every pixel that it touches.

    Raises:
        InferenceError: WRONG_SHAPE: the region of interest does not lie within the picture.
    """
    left, top, wide, high = contract.roi or (0, 0, width, height)
    if left + wide > width or top + high > height:
        message = f"the region of interest {contract.roi} does not lie within {width} × {height} pixels"
        raise InferenceError(message, "set the camera to the size that the bundle was made for", Reason.WRONG_SHAPE)
    x, y = left // reduced, top // reduced
    source = Box(x, y, -(-(left + wide) // reduced) - x, -(-(top + high) // reduced) - y)
    target = Box(0, 0, contract.width, contract.height)
    is_wide = source.width * target.height > source.height * target.width
    if contract.geometry == "crop":
        source = _centre(source, _fit(target, source, by_height=is_wide))
    elif contract.geometry == "letterbox":
        target = _centre(target, _fit(source, target, by_height=not is_wide))
    return Placement(source, target, (height, width), reduced)


def frame(contract: ImageInput) -> Placement:
    """The placement of a picture that has the tensor's own size: places are then in pixels of the tensor."""
    whole = Box(0, 0, contract.width, contract.height)
    return Placement(whole, whole, (contract.height, contract.width))


class Geometry:
    """Brings pictures to the contract's size."""

    def __init__(self, contract: ImageInput) -> None:
        self._contract = contract
        self._key: tuple[object, ...] = ()
        self.placement = frame(contract)
        """Where the latest picture went."""
        self._buffers: dict[tuple[int, ...], Picture] = {}

    def fit(self, picture: Picture, size: tuple[int, int] | None = None, reduced: int = 1) -> Picture:
        """The picture at the contract's size, valid until the next call. Its colours stay as they are.

        `size` is height and width of the source, where `picture` is that one decoded `reduced` times smaller.

        Raises:
            InferenceError: WRONG_SHAPE: the region of interest does not lie within the picture.
        """
        key = (picture.shape, size, reduced)
        if key != self._key:
            height, width = size or picture.shape[:2]
            self.placement = place(self._contract, height, width, reduced)
            self._key = key
            self._buffers.clear()
        source, target = self.placement.source.of(picture), self.placement.target
        if self._contract.colour == "gray" and source.ndim == COLOUR:
            source = cv2.cvtColor(source, cv2.COLOR_BGR2GRAY, self._buffer(source.shape[:2], stage=0))
        fitted = self._resize(source, target.width, target.height)
        return self._on_canvas(fitted) if self._contract.geometry == "letterbox" else fitted

    def _resize(self, picture: Picture, width: int, height: int) -> Picture:
        if self._contract.resize == "area-pyramid":
            # Exact halving is vectorised: see pyramid_vs_area and scratches_kept of scripts/bench inference.
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
        self.placement.target.of(canvas)[...] = fitted
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
