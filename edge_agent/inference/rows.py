"""What a sample has of a window's channels comes in, rows of one length go out: the window, then what goes with it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.errors import InferenceError
from edge_agent.inference.features import Window, check_array, check_window, read_array, read_npy_header, read_window
from edge_protocol.codes import Reason


def read_rows(data: bytes | npt.NDArray[Any], names: Sequence[str], length: int) -> Window:
    """All rows from one array [names, length], or the bytes of such a .npy file.

    Raises:
        InferenceError: UNREADABLE, WRONG_SHAPE or NOT_FINITE.
    """
    shape = (len(names), length)
    rows = check_array(data, shape) if isinstance(data, np.ndarray) else read_array(data, shape)
    return _finite(rows.astype(np.float64))


def gather_rows(
    parts: Sequence[bytes | npt.NDArray[Any]], names: Sequence[str], length: int, windows: int = 1
) -> Window:
    """As many windows, and beside them channels of any number of values over the same time, drawn out to their length.

    Raises:
        InferenceError: UNREADABLE, WRONG_SHAPE or NOT_FINITE.
    """
    rows = np.empty((len(parts), length))
    for row, part in zip(rows, parts[:windows], strict=False):
        row[...] = check_window(part, length) if isinstance(part, np.ndarray) else read_window(part, length)
    for row, part, name in zip(rows[windows:], parts[windows:], names[windows:], strict=True):
        values = _values(part, name, length)
        row[...] = np.interp(np.linspace(0, values.size - 1, length), np.arange(values.size), values)
    return _finite(rows)


def _values(part: bytes | npt.NDArray[Any], name: str, length: int) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = part if isinstance(part, np.ndarray) else _read_any(part)
    if values.ndim > 1 or not 1 <= values.size <= length or values.dtype.kind not in "iuf":
        message = f"channel {name!r} has {values.dtype}{list(values.shape)}"
        raise InferenceError(message, f"one to {length} real numbers in one dimension are taken", Reason.WRONG_SHAPE)
    return values.reshape(-1).astype(np.float64)


def _read_any(data: bytes) -> npt.NDArray[Any]:
    """The array of a .npy file, whatever its shape: as large as the file is, and no larger."""
    shape, _dtype, _offset, _fortran = read_npy_header(data)
    return read_array(data, shape)


def _finite(rows: Window) -> Window:
    if not np.isfinite(rows).all():
        message = "a window, or a channel that goes with it, with values that are not finite"
        raise InferenceError(message, "look at the sensor and its cable", Reason.NOT_FINITE)
    return rows
