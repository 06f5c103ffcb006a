"""A window comes in, its power by frequency goes out, in the scaling that textbooks and scipy have.

Hann windows are periodic, spectra one-sided, the mean is removed before.
"""

from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Window: TypeAlias = npt.NDArray[np.float64]
Spectrum: TypeAlias = npt.NDArray[np.float64]

G_M_S2 = 9.80665
"""Standard gravity."""

MM_S = {"m/s2": 1000.0, "g": 1000.0 * G_M_S2, "mm/s": 1.0}
"""From the unit of a window to millimetres and seconds."""

_FLOOR = 1e-12
"""Mean square, in the window's unit squared, that is added before a logarithm: silence is a number."""


@lru_cache(maxsize=16)
def hann(length: int) -> Window:
    """The periodic Hann window, as scipy.signal.get_window("hann")."""
    window = np.hanning(length + 1)[:-1]
    window.flags.writeable = False
    return window


class Transform:
    """Spectra of windows of one length, under one Hann window, in buffers of its own: they hold until the next `take`.

    Arrays of this size made anew for each window cost more than the arithmetic: the system gives and takes the pages.
    """

    def __init__(self, length: int) -> None:
        self._taper = hann(length)
        self._tapered = np.empty(length)
        self._lines = np.empty(length // 2 + 1, np.complex128)
        self._power, self._density, self._amplitudes = np.empty((3, length // 2 + 1))
        self._energy = float(np.square(self._taper).sum())
        self._sum = float(self._taper.sum())

    def take(self, window: Window) -> None:
        """Transform a window [length] without its mean."""
        np.subtract(window, window.mean(), out=self._tapered)
        np.multiply(self._tapered, self._taper, out=self._tapered)
        np.fft.rfft(self._tapered, out=self._lines)
        np.square(self._lines.real, out=self._power)
        np.square(self._lines.imag, out=self._density)
        np.add(self._power, self._density, out=self._power)

    def density(self, rate_hz: float) -> Spectrum:
        """As the function of this name."""
        np.multiply(self._power, 2 / (rate_hz * self._energy), out=self._density)
        # Zero and the Nyquist frequency have no counterpart on the other side.
        self._density[0] /= 2
        if self._taper.size % 2 == 0:
            self._density[-1] /= 2
        return self._density

    def amplitudes(self) -> Spectrum:
        """As the function of this name."""
        np.sqrt(self._power, out=self._amplitudes)
        return np.multiply(self._amplitudes, 2 / self._sum, out=self._amplitudes)


def density(window: Window, rate_hz: float) -> Spectrum:
    """Power spectral density [n // 2 + 1] of a window [n] under one Hann window, in unit² per hertz.

    Its sum times rate / n is the mean square of the window without its mean, but for the Hann window's weighting.
    """
    transform = Transform(window.size)
    transform.take(window)
    return transform.density(rate_hz)


def welch(window: Window, rate_hz: float, segment: int) -> Spectrum:
    """Density [segment // 2 + 1] as the mean over half-overlapping segments (Welch 1967)."""
    step = segment - segment // 2
    starts = range(0, window.size - segment + 1, step)
    found: Spectrum = np.mean([density(window[start : start + segment], rate_hz) for start in starts], axis=0)
    return found


def amplitudes(window: Window) -> Spectrum:
    """Amplitude [n // 2 + 1] in the window's unit: a sine of amplitude a, on a bin, stands there with a."""
    transform = Transform(window.size)
    transform.take(window)
    return transform.amplitudes()


def band_energies(spectrum: Spectrum, rate_hz: float, bins: tuple[int, ...]) -> Spectrum:
    """Natural logarithm of (1e-12 + mean square) of each band of a density: from `bins[i]` up to `bins[i + 1]`."""
    length = 2 * (spectrum.size - 1)
    energies = np.add.reduceat(spectrum, bins[:-1]) * (rate_hz / length)
    found: Spectrum = np.log(_FLOOR + energies)
    return found


def velocity_rms(spectrum: Spectrum, step_hz: float, band_hz: tuple[float, float], unit: str) -> float:
    """Root mean square of the velocity in mm/s within a band, from the density of an acceleration (or a velocity).

    Integration in time is division by (2πf)² here, as ISO 20816-1 asks of a broad-band velocity.
    """
    first, last = (int(edge / step_hz) for edge in band_hz)
    first, last = max(first + (band_hz[0] > first * step_hz), 1), min(last, spectrum.size - 1)
    if last < first:
        return 0.0
    power = spectrum[first : last + 1]
    if unit != "mm/s":
        power = power / np.square(2 * np.pi * step_hz * _places(spectrum.size)[first : last + 1])
    return float(np.sqrt(power.sum() * step_hz)) * MM_S[unit]


def centroid_and_entropy(spectrum: Spectrum, step_hz: float) -> tuple[float, float]:
    """Where the power lies on average, in hertz, and how evenly: 0 for one line, 1 for white noise. Scale-free.

    Zero and zero for a window without power.
    """
    total = float(spectrum.sum())
    if not total > 0:
        return 0.0, 0.0
    share = spectrum / total
    # Not np.dot: of so many values it is shared among threads, which a gateway has better use for.
    centroid = float(np.einsum("i,i->", share, _places(spectrum.size))) * step_hz
    # Of p ln p the limit at zero is zero.
    entropy = -float(np.einsum("i,i->", share, np.log(np.maximum(share, np.finfo(np.float64).tiny))))
    return centroid, entropy / float(np.log(spectrum.size))


@lru_cache(maxsize=16)
def _places(size: int) -> Spectrum:
    places = np.arange(size, dtype=np.float64)
    places.flags.writeable = False
    return places


def amplitude_at(spectrum: Spectrum, step: float, place: float, tolerance: float) -> float:
    """The largest amplitude within `tolerance` (a share) of a place, and at least within a bin and a half of it.

    `place` and `step` are in hertz or in orders; beyond the spectrum there is nothing, and its amplitude is zero.
    """
    around = max(tolerance * place, 1.5 * step)
    first, last = max(round((place - around) / step), 1), round((place + around) / step)
    if last >= spectrum.size or last < first:
        return 0.0
    return float(spectrum[first : last + 1].max())
