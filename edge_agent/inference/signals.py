"""What is watched of a sample itself, whatever the model thinks of it: a decoded sample comes in, numbers go out."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.inference.picture import COLOUR
from edge_protocol.bundle import ImageInput, InputContract, TensorInput

Rows = npt.NDArray[np.uint8]

_ROWS = 128
_TINY = 1e-12
_MAX_VALUES = 2**16
"""Of a tensor: of a larger one every s-th."""


class Sampler:
    """Every s-th row of pictures, about 128 of them, as they are and in grey.

    Whole rows: neighbours stay neighbours, so that sharpness means focus, and a 1080p frame takes well under half a
    millisecond. Its buffers are kept, so pictures of one size allocate nothing; what is given holds until the next.
    """

    def __init__(self) -> None:
        self._rows = self._luma = self._step = np.empty((0, 0), np.uint8)

    def take(self, picture: npt.NDArray[np.uint8]) -> tuple[Rows, Rows]:
        """The rows of a picture, and their luma: the same array where it is grey."""
        chosen = picture[:: max(1, picture.shape[0] // _ROWS)]
        if chosen.shape != self._rows.shape:
            self._rows = np.empty(chosen.shape, np.uint8)
            self._luma = self._rows if chosen.ndim < COLOUR else np.empty(chosen.shape[:2], np.uint8)
            self._step = np.empty((chosen.shape[0], chosen.shape[1] - 1), np.uint8)
        np.copyto(self._rows, chosen)
        if chosen.ndim == COLOUR:
            cv2.cvtColor(self._rows, cv2.COLOR_BGR2GRAY, self._luma)
        return self._rows, self._luma

    def signals(self) -> dict[str, float]:
        """`luma_mean`, `luma_std`, `sharpness`, and for colour `red_green` and `blue_green`, of the rows taken last.

        Sharpness is the mean step between neighbours over the deviation, so that it does not change with the light.
        """
        luma = self._luma
        mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(luma))
        step = float(cv2.mean(cv2.absdiff(luma[:, 1:], luma[:, :-1], self._step))[0]) if self._step.size else 0.0
        signals = {"luma_mean": mean, "luma_std": deviation, "sharpness": step / max(deviation, 1.0)}
        if self._rows.ndim == COLOUR:
            blue, green, red, _ = cv2.mean(self._rows)
            signals |= {"red_green": (red + 1) / (green + 1), "blue_green": (blue + 1) / (green + 1)}
        return signals


def of_image(picture: npt.NDArray[np.uint8]) -> dict[str, float]:
    """The signals of one picture, as `Sampler` gives them."""
    sampler = Sampler()
    sampler.take(picture)
    return sampler.signals()


def of_window(window: npt.NDArray[np.float64]) -> dict[str, float]:
    """`rms`, `kurtosis` (3 for a normal distribution), `crest` (peak over rms), `zero_crossings` (share of steps).

    Of rows of several channels the first is the window.
    """
    window = window[0] if window.ndim > 1 else window
    with np.errstate(over="ignore", invalid="ignore"):
        centred = window - window.mean()
        square = np.square(centred)
        power = float(square.mean())
        rms = float(np.sqrt(np.square(window).mean()))
        kurtosis = float(np.square(square).mean()) / max(power * power, _TINY)
    crossings = np.count_nonzero(np.diff(np.signbit(centred))) / max(1, window.size - 1)
    peak = float(np.abs(window).max())
    return {"rms": rms, "kurtosis": kurtosis, "crest": peak / max(rms, _TINY), "zero_crossings": float(crossings)}


def of(array: npt.NDArray[Any], contract: InputContract) -> dict[str, float]:
    """The signals of a decoded sample: of a picture, of a window's own channel, or of a tensor's values in a row."""
    if isinstance(contract, ImageInput):
        return of_image(array)
    if isinstance(contract, TensorInput):
        return of_window(array.reshape(-1)[:: 1 + array.size // _MAX_VALUES].astype(np.float64))
    return of_window(array if array.ndim == 1 else array[0])
