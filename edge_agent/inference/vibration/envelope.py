"""A window comes in, the envelope of one of its bands goes out: what a fault strikes again and again rings there."""

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Window: TypeAlias = npt.NDArray[np.float64]
Analytic: TypeAlias = npt.NDArray[np.complex128]

BANDS = ((0.05, 0.15), (0.15, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.95))
"""Shares of half the rate, from which a band is chosen where none is given."""

_OVERSAMPLING = 2
"""The envelope's own bandwidth is that of its band, at either side of zero: its square has twice as much."""


def hilbert(window: Window) -> Analytic:
    """The analytic signal [n] of a window [n] by Fourier transform, as scipy.signal.hilbert."""
    spectrum = np.fft.fft(window)
    weights = np.zeros(window.size)
    weights[0] = 1
    weights[1 : (window.size + 1) // 2] = 2
    if window.size % 2 == 0:
        weights[window.size // 2] = 1
    return np.fft.ifft(spectrum * weights)


class Filter:
    """The envelope of one band of windows of one length, in buffers of its own: it holds until the next window.

    Only the band's bins are transformed back, so the points lie length / m samples apart, m ≥ twice as many as bins:
    the magnitude of the analytic signal of the band-passed window at those places, for a fraction of the work.
    """

    def __init__(self, length: int, bins: tuple[int, int]) -> None:
        first, last = bins
        self._bins = slice(first, last)
        self._width = last - first
        self.points = 1 << (max(_OVERSAMPLING * self._width, 2) - 1).bit_length()
        self._scale = 2 * self.points / length
        self._band = np.zeros(self.points, np.complex128)
        self._signal = np.empty(self.points, np.complex128)
        self._envelope = np.empty(self.points)

    def take(self, spectrum: Analytic) -> Window:
        """The envelope [points] from the rfft of a window."""
        self._band[: self._width] = spectrum[self._bins]
        np.fft.ifft(self._band, out=self._signal)
        np.abs(self._signal, out=self._envelope)
        return np.multiply(self._envelope, self._scale, out=self._envelope)


def envelope(spectrum: Analytic, length: int, bins: tuple[int, int]) -> Window:
    """The envelope of the band `bins` of a window [length] from its rfft, as `Filter` gives it."""
    return Filter(length, bins).take(spectrum)


def kurtosis(values: Window) -> float:
    """Fourth moment over the square of the second, of values [n]: 3 for a normal distribution, 0 for a constant."""
    square = np.square(values - values.mean())
    power = square.mean()
    fourth = np.einsum("i,i->", square, square) / values.size
    return float(fourth / np.square(power)) if power > 0 else 0.0


def band_bins(band_hz: tuple[float, float], length: int, rate_hz: float) -> tuple[int, int]:
    """The bins of an rfft [length // 2 + 1] that lie within a band; at least one, never zero."""
    first = max(round(band_hz[0] * length / rate_hz), 1)
    last = min(round(band_hz[1] * length / rate_hz) + 1, length // 2 + 1)
    return min(first, length // 2), max(last, min(first, length // 2) + 1)


def candidate_bands(rate_hz: float) -> tuple[tuple[float, float], ...]:
    """`BANDS` in hertz."""
    return tuple((low * rate_hz / 2, high * rate_hz / 2) for low, high in BANDS)


def choose_band(windows: Iterable[Window], rate_hz: float) -> tuple[float, float]:
    """Of the candidate bands the one whose envelope has the largest kurtosis, in the median of the windows.

    For a contract: one band for all windows of a machine compares better than one for each.
    """
    bands = candidate_bands(rate_hz)
    rows = []
    for window in windows:
        spectrum = np.fft.rfft(window - window.mean())
        places = (band_bins(band, window.size, rate_hz) for band in bands)
        rows.append([kurtosis(envelope(spectrum, window.size, place)) for place in places])
    return bands[int(np.median(rows, axis=0).argmax())]
