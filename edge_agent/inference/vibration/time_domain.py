"""A window comes in, the numbers of its shape in time go out: how large, how even, how impulsive."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Window: TypeAlias = npt.NDArray[np.float64]


def time_features(window: Window, work: Window | None = None) -> tuple[float, ...]:
    """The eleven of `edge_protocol.features.TIME`, of a window [n] in any unit; the first five are in that unit.

    `mean` and `rms` are of the window as it is; all others of the window less its mean, so that a sensor's offset does
    not count: `peak` the largest magnitude, `std` the root of the mean square, `kurtosis` 3 for a normal distribution,
    `crest` = peak / std, `shape` = std / mean magnitude, `impulse` = peak / mean magnitude, `clearance` = peak / the
    square of the mean root magnitude. The last six have no unit and do not change with the scale. A constant window
    has zero for all but the first two. Definitions as in Randall, Vibration-based Condition Monitoring (2011).
    `work` [2, n] is what may be written into.
    """
    centred, other = np.empty((2, window.size)) if work is None else work
    mean = window.mean()
    np.subtract(window, mean, out=centred)
    low, high = centred.min(), centred.max()
    np.square(centred, out=other)
    power, third, fourth = other.mean(), np.einsum("i,i->", other, centred), np.einsum("i,i->", other, other)
    rms = np.sqrt(np.square(mean) + power)
    # What is left of a constant is the rounding of its mean.
    if power <= np.square(np.abs(mean) * 1e-14):
        return (float(mean), float(rms), *(0.0,) * 9)
    deviation, peak = np.sqrt(power), max(high, -low)
    average = np.abs(centred, out=other).mean()
    root = np.sqrt(other, out=other).mean()
    found = (
        mean,
        rms,
        peak,
        high - low,
        deviation,
        third / window.size / (power * deviation),
        fourth / window.size / np.square(power),
        peak / deviation,
        deviation / average,
        peak / average,
        peak / np.square(root),
    )
    return tuple(map(float, found))
