"""What is watched of a sample itself, whatever the model thinks of it: a decoded sample comes in, numbers go out."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.inference.picture import COLOUR

_ROWS = 128
_TINY = 1e-12


def of_image(picture: npt.NDArray[np.uint8]) -> dict[str, float]:
    """`luma_mean`, `luma_std`, `sharpness`, and for colour `red_green` and `blue_green`, on every s-th row.

    Whole rows, about 128 of them: neighbours stay neighbours, so that sharpness means focus, and a 1080p frame takes
    well under half a millisecond. Sharpness is the mean step between neighbours over the deviation, so that it does
    not change with the light.
    """
    rows = np.ascontiguousarray(picture[:: max(1, picture.shape[0] // _ROWS)])
    luma = cv2.cvtColor(rows, cv2.COLOR_BGR2GRAY) if rows.ndim == COLOUR else rows
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(luma))
    step = float(cv2.mean(cv2.absdiff(luma[:, 1:], luma[:, :-1]))[0]) if luma.shape[1] > 1 else 0.0
    signals = {"luma_mean": mean, "luma_std": deviation, "sharpness": step / max(deviation, 1.0)}
    if rows.ndim == COLOUR:
        blue, green, red, _ = cv2.mean(rows)
        signals |= {"red_green": (red + 1) / (green + 1), "blue_green": (blue + 1) / (green + 1)}
    return signals


def of_window(window: npt.NDArray[np.float64]) -> dict[str, float]:
    """`rms`, `kurtosis` (3 for a normal distribution), `crest` (peak over rms), `zero_crossings` (share of steps)."""
    with np.errstate(over="ignore", invalid="ignore"):
        centred = window - window.mean()
        square = np.square(centred)
        power = float(square.mean())
        rms = float(np.sqrt(np.square(window).mean()))
        kurtosis = float(np.square(square).mean()) / max(power * power, _TINY)
    crossings = np.count_nonzero(np.diff(np.signbit(centred))) / max(1, window.size - 1)
    peak = float(np.abs(window).max())
    return {"rms": rms, "kurtosis": kurtosis, "crest": peak / max(rms, _TINY), "zero_crossings": float(crossings)}


def of(array: npt.NDArray[Any]) -> dict[str, float]:
    """The signals of a decoded sample, picture or window."""
    return of_image(array) if array.dtype == np.uint8 else of_window(array)
