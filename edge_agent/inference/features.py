"""Windows of a signal come in, feature vectors go out, in double precision until the last step."""

import io
import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.errors import InferenceError
from edge_protocol.codes import Reason

Window = npt.NDArray[np.float64]

_FLOOR = 1e-9
"""Added to the power before the logarithm, so that silence is a number."""


def read_window(data: bytes, length: int) -> Window:
    """The window in the bytes of a .npy file: one dimension, `length` real numbers, little or big endian.

    Raises:
        InferenceError: UNREADABLE, WRONG_SHAPE or NOT_FINITE.
    """
    shape, dtype, offset, _fortran = read_npy_header(data)
    # The shape is compared before memory is asked for: the header may promise terabytes.
    if shape != (length,) or dtype.kind not in "iuf" or len(data) - offset != length * dtype.itemsize:
        message = f"a window {dtype}{list(shape)} in {len(data)} bytes"
        raise InferenceError(message, f"{length} real numbers in one dimension are taken", Reason.WRONG_SHAPE)
    return check_window(np.frombuffer(data, dtype, offset=offset), length)


def read_array(data: bytes, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The array in the bytes of a .npy file, of `shape` or of it without a batch of one.

    Raises:
        InferenceError: UNREADABLE or WRONG_SHAPE.
    """
    there, dtype, offset, fortran = read_npy_header(data)
    size = math.prod(there)
    if size != math.prod(shape) or dtype.kind not in "iuf" or len(data) - offset != size * dtype.itemsize:
        message = f"an array {dtype}{list(there)} in {len(data)} bytes"
        raise InferenceError(message, f"real numbers in {list(shape)} are taken", Reason.WRONG_SHAPE)
    values = np.frombuffer(data, dtype, offset=offset)
    return check_array(values.reshape(there, order="F" if fortran else "C"), shape)


def check_array(array: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The array in `shape`, if it can be judged; a batch of one may be left out.

    Raises:
        InferenceError: WRONG_SHAPE.
    """
    fits = array.shape == shape or (shape[0] == 1 and array.shape == shape[1:])
    if not fits or array.dtype.kind not in "iuf":
        message = f"an array {array.dtype}{list(array.shape)}"
        raise InferenceError(message, f"real numbers in {list(shape)} are taken", Reason.WRONG_SHAPE)
    return array.reshape(shape)


def check_window(window: npt.NDArray[Any], length: int) -> Window:
    """The window in double precision, if it can be judged.

    Raises:
        InferenceError: WRONG_SHAPE or NOT_FINITE.
    """
    if window.shape != (length,) or window.dtype.kind not in "iuf":
        message = f"a window {window.dtype}{list(window.shape)}"
        raise InferenceError(message, f"{length} real numbers in one dimension are taken", Reason.WRONG_SHAPE)
    values = window.astype(np.float64)
    if not np.isfinite(values).all():
        message = "a window with values that are not finite"
        raise InferenceError(message, "look at the sensor and its cable", Reason.NOT_FINITE)
    return values


def log_power_spectrum(window: Window, bands: int) -> Window:
    """Mean removed, unit deviation, Hann window, |rfft|², summed in `bands` equal bands, ln(1e-9 + power).

    Of the m = length // 2 + 1 bins of the spectrum, band b holds ⌊b·m / bands⌋ up to, not including, ⌊(b+1)·m / bands⌋.
    A constant window has no deviation to scale by and stays zero.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        centred = window - window.mean()
        deviation = centred.std()
        if deviation > 0:
            # Values whose squares overflow are not silence: what is divided by infinity would look like it.
            centred /= deviation if np.isfinite(deviation) else np.nan
        hann, starts = _plan(window.size, bands)
        power = np.abs(np.fft.rfft(centred * hann)) ** 2
        features: Window = np.log(_FLOOR + np.add.reduceat(power, starts))
    return features


def read_npy_header(data: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int, bool]:
    """Shape, type, where the values begin, and whether columns come first."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except Exception as error:  # a hostile header makes numpy raise whatever Python's own parser does
        message = "not the bytes of a .npy file"
        raise InferenceError(message, "write arrays with numpy.save", Reason.UNREADABLE) from error
    return shape, dtype, stream.tell(), fortran


@lru_cache(maxsize=8)
def _plan(length: int, bands: int) -> tuple[Window, npt.NDArray[np.int64]]:
    starts = np.arange(bands) * (length // 2 + 1) // bands
    return np.hanning(length), starts
