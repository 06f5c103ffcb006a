"""A window comes in, the numbers of its shape in time go out: how large, how even, how impulsive."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Window: TypeAlias = npt.NDArray[np.float64]


def time_features(window: Window) -> tuple[float, ...]:
    """The eleven of `edge_protocol.features.TIME`, of a window [n] in any unit; the first five are in that unit.

    `mean` and `rms` are of the window as it is; all others of the window less its mean, so that a sensor's offset does
    not count: `peak` the largest magnitude, `std` the root of the mean square, `kurtosis` 3 for a normal distribution,
    `crest` = peak / std, `shape` = std / mean magnitude, `impulse` = peak / mean magnitude, `clearance` = peak / the
    square of the mean root magnitude. The last six have no unit and do not change with the scale. A constant window
    has zero for all but the first two. Definitions as in Randall, Vibration-based Condition Monitoring (2011).
    """
    mean = float(window.mean())
    centred = window - mean
    magnitude = np.abs(centred)
    square = np.square(centred)
    power = float(square.mean())
    peak, span = float(magnitude.max()), float(centred.max() - centred.min())
    rms = float(np.sqrt(np.square(window).mean()))
    if power <= _silence(mean):
        return (mean, rms, *(0.0,) * 9)
    deviation, average = power**0.5, float(magnitude.mean())
    skewness = float((square * centred).mean()) / power**1.5
    kurtosis = float(np.square(square).mean()) / power**2
    clearance = peak / float(np.sqrt(magnitude).mean()) ** 2
    shapes = (skewness, kurtosis, peak / deviation, deviation / average, peak / average, clearance)
    return (mean, rms, peak, span, deviation, *shapes)


def _silence(mean: float) -> float:
    """Power that is only the rounding of the mean of a constant."""
    return float((abs(mean) * 1e-14) ** 2)
