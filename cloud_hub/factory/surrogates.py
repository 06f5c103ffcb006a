"""Windows that sound like a class of recorded ones come out, none of which was recorded.

Only the mean features of the class go in, one number a band; everything else is drawn, so no recording can be had back.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Windows = npt.NDArray[np.float64]

_ROUNDS = 12
_WINDOWS = 200


def fit_gains(
    target: Windows, length: int, features: Callable[[Windows], Windows], rng: np.random.Generator
) -> Windows:
    """The power of each bin with which generated windows have `target` as their mean log power in equal bands."""
    bins = length // 2 + 1
    band = np.searchsorted(np.arange(target.size) * bins // target.size, np.arange(bins), side="right") - 1
    gains = np.exp(target)[band]
    for _ in range(_ROUNDS):
        found = np.mean([features(window) for window in generate(gains, length, _WINDOWS, rng)], axis=0)
        gains = gains * np.exp(target - found)[band]
    return gains


def generate(gains: Windows, length: int, count: int, rng: np.random.Generator) -> Windows:
    """`count` windows of Gaussian noise with this power in each bin, of unit deviation."""
    shape = (count, gains.size)
    bins = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) * np.sqrt(gains / 2)
    bins[:, 0] = 0
    windows = np.fft.irfft(bins, n=length, axis=1)
    return np.asarray(windows / windows.std(axis=1, keepdims=True))
