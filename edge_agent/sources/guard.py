"""Whether an input can be trusted at all, before any model is asked: a picture or window comes in, a reason goes out.

What cannot be decoded never gets here: the decoder has its own reasons. Never changes the input.
"""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.settings import Guard as Settings
from edge_protocol.codes import Reason

Array = npt.NDArray[Any]

STRIDE = 7
"""Every seventh row and column: a 1080p picture takes about 0.2 ms. A prime, so that no pixel pattern hides."""

_COLOUR = 3
_LUMA_BGR = np.array([0.114, 0.587, 0.299])


class Guard:
    """Remembers the last input of one source for one pipeline, so it belongs to one thread."""

    def __init__(self, settings: Settings, window_length: int | None = None) -> None:
        """`window_length` is what the bundle's contract says of windows; None for pictures."""
        self._settings = settings
        self._window_length = window_length
        self._last = b""
        self._repeats = 0

    def check(self, array: Array, replayed: bool = False) -> Reason:  # noqa: FBT001, FBT002 (the pipeline's signature)
        """Why `array` is not to be trusted, or NONE. A replay may repeat itself; a camera may not."""
        reason = self._check_window(array) if array.ndim == 1 else self._check_picture(array)
        if reason is Reason.NONE and not replayed and self._is_frozen(array):
            return Reason.FROZEN
        return reason

    def _check_picture(self, picture: Array) -> Reason:
        if not picture.size:
            return Reason.WRONG_SHAPE
        return Reason.BLACK if luma_mean(picture) < self._settings.black_below else Reason.NONE

    def _check_window(self, window: Array) -> Reason:
        if not window.size or (self._window_length is not None and window.size != self._window_length):
            return Reason.WRONG_SHAPE
        if not np.isfinite(window).all():
            return Reason.NOT_FINITE
        # A flat line is a sensor that has died: nothing that lives is constant to the last bit.
        return Reason.FROZEN if window.size > 1 and (window == window[0]).all() else Reason.NONE

    def _is_frozen(self, array: Array) -> bool:
        if not self._settings.frozen_after:
            return False
        digest = _digest(array)
        self._repeats = self._repeats + 1 if digest == self._last else 1
        self._last = digest
        return self._repeats >= self._settings.frozen_after


def luma_mean(picture: Array) -> float:
    """Mean brightness, 0…255, of the pixels on the stride."""
    sparse = picture[::STRIDE, ::STRIDE]
    if picture.ndim == _COLOUR:
        return float(sparse.reshape(-1, _COLOUR).mean(axis=0) @ _LUMA_BGR)
    return float(sparse.mean())


def _digest(array: Array) -> bytes:
    sparse = array if array.ndim == 1 else array[::STRIDE, ::STRIDE]
    return hashlib.blake2b(np.ascontiguousarray(sparse).data, digest_size=16).digest()
