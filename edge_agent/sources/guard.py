"""Whether an input can be trusted at all, before any model is asked: a picture or window comes in, a reason goes out.

What cannot be decoded never gets here: the decoder has its own reasons. Never changes the input.
"""

import zlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.settings import Guard as Settings
from edge_protocol.codes import Reason

Array = npt.NDArray[Any]

ROWS = 64
"""A picture is looked at on about this many whole rows: 0.2 ms at 1080p, where every seventh pixel takes 1.8."""

_COLOUR = 3
_LUMA_BGR = (0.114, 0.587, 0.299)


class Guard:
    """Remembers the last input of one source for one pipeline, so it belongs to one thread."""

    def __init__(self, settings: Settings, window_length: int | None = None) -> None:
        """`window_length` is what the bundle's contract says of windows; None for pictures."""
        self._settings = settings
        self._window_length = window_length
        self._last = -1
        self._repeats = 0

    def check(self, array: Array, replayed: bool = False) -> Reason:  # noqa: FBT001, FBT002 (the pipeline's signature)
        """Why `array` is not to be trusted, or NONE. A replay may repeat itself; a camera may not."""
        is_window = array.ndim == 1
        seen = array if is_window else np.ascontiguousarray(array[:: max(1, array.shape[0] // ROWS)])
        reason = self._check_window(seen) if is_window else self._check_picture(seen)
        if reason is Reason.NONE and not replayed and self._is_frozen(seen):
            return Reason.FROZEN
        return reason

    def _check_picture(self, rows: Array) -> Reason:
        if not rows.size:
            return Reason.WRONG_SHAPE
        return Reason.BLACK if luma_mean(rows) < self._settings.black_below else Reason.NONE

    def _check_window(self, window: Array) -> Reason:
        if not window.size or (self._window_length is not None and window.size != self._window_length):
            return Reason.WRONG_SHAPE
        if not np.isfinite(window).all():
            return Reason.NOT_FINITE
        # A flat line is a sensor that has died: nothing that lives is constant to the last bit.
        return Reason.FROZEN if window.size > 1 and (window == window[0]).all() else Reason.NONE

    def _is_frozen(self, seen: Array) -> bool:
        if not self._settings.frozen_after:
            return False
        digest = zlib.crc32(np.ascontiguousarray(seen).data)
        self._repeats = self._repeats + 1 if digest == self._last else 1
        self._last = digest
        return self._repeats >= self._settings.frozen_after


def luma_mean(picture: Array) -> float:
    """Mean brightness of a BGR or grey picture, 0…255."""
    means = cv2.mean(picture)
    return sum(w * m for w, m in zip(_LUMA_BGR, means, strict=False)) if picture.ndim == _COLOUR else means[0]
