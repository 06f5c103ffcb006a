"""Windows that sound like a class of recorded ones come out, none of which was recorded.

Only the mean power spectrum of the class goes in; phases and amplitudes are drawn, so no row can be had back.
"""

import numpy as np
import numpy.typing as npt

Windows = npt.NDArray[np.float64]


def mean_spectrum(windows: Windows) -> Windows:
    """The geometric mean of the power in each bin, which is what a logarithm of power averages to."""
    centred = windows - windows.mean(axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(centred, axis=1)) ** 2
    spectrum: Windows = np.exp(np.log(power + 1e-12).mean(axis=0))
    return spectrum


def generate(spectrum: Windows, length: int, count: int, rng: np.random.Generator) -> Windows:
    """`count` windows of Gaussian noise with this spectrum, of unit deviation."""
    shape = (count, spectrum.size)
    bins = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) * np.sqrt(spectrum / 2)
    bins[:, 0] = 0
    windows = np.fft.irfft(bins, n=length, axis=1)
    return np.asarray(windows / windows.std(axis=1, keepdims=True))
