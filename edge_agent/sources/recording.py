"""A file of recorded signals comes in, even rows of numbers go out: what is missing in the file is NaN in its place.

Never fills a gap, never guesses what a cell means, and never unpacks more than it was told to.
"""

import csv
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

MAX_BYTES = 1 << 30
"""More numbers than fit here are not loaded: a recording is played from memory."""

MISSING = frozenset({"", "nan", "na", "n/a", "null", "none", "-"})
"""Cells that say that there is no value; any other that is no number is a mistake."""

_DELIMITERS = (",", ";", "\t")

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Recording:
    """Signals of equal length by name, or windows [n, length] as they were cut.

    `start_us` is the time of the first sample where the file tells it. `left_out` rows did not go on in time.
    """

    signals: dict[str, Values]
    start_us: int = 0
    left_out: int = 0


def load(path: Path, columns: Sequence[str], time_column: str, rate_hz: float) -> Recording:
    """The recording in a .csv, .npz or .npy file; `columns` are all but the time where none are named.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not such a file, or what is asked for is not in it.
    """
    if path.suffix in {".npz", ".npy"}:
        return _load_arrays(path, columns)
    if path.stat().st_size > MAX_BYTES:
        message = f"{path.stat().st_size} bytes, at most {MAX_BYTES} are read"
        raise ValueError(message)
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        file.seek(0)
        rows = csv.reader(file, delimiter=max(_DELIMITERS, key=first.count))
        return _load_rows(rows, columns, time_column, rate_hz)


def _load_arrays(path: Path, columns: Sequence[str]) -> Recording:
    if path.suffix == ".npy":
        arrays = {path.stem: np.load(path, mmap_mode="r", allow_pickle=False)}
    else:
        with zipfile.ZipFile(path) as archive:
            unpacked_bytes = sum(entry.file_size for entry in archive.infolist())
        if unpacked_bytes > MAX_BYTES:
            message = f"it unpacks to {unpacked_bytes} bytes, at most {MAX_BYTES} are taken"
            raise ValueError(message)
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in columns or archive.files if name in archive.files}
    names = list(columns) if columns and path.suffix == ".npz" else list(arrays)
    signals = {name: _numbers(name, arrays) for name in names}
    if len({signal.shape for signal in signals.values()}) != 1:
        shapes = ", ".join(f"{name} {list(signal.shape)}" for name, signal in signals.items())
        message = f"its arrays differ in shape: {shapes or 'there is none'}"
        raise ValueError(message)
    return Recording(signals)


def _numbers(name: str, arrays: dict[str, npt.NDArray[np.generic]]) -> Values:
    if name not in arrays:
        message = f"there is no array {name!r}, only {', '.join(arrays) or 'none of those asked for'}"
        raise ValueError(message)
    array = arrays[name]
    if array.dtype.kind not in "iuf" or array.ndim not in (1, 2) or array.nbytes > MAX_BYTES:
        message = (
            f"{name!r} is {array.dtype}{list(array.shape)}: a signal [n] or windows [n, length] of numbers are taken"
        )
        raise ValueError(message)
    return np.array(array, np.float64)


def _load_rows(rows: Iterator[list[str]], columns: Sequence[str], time_column: str, rate_hz: float) -> Recording:
    first = next(rows, [])
    is_header = bool(first) and not any(_is_value(cell) for cell in first if cell.strip())
    header = [cell.strip() for cell in first] if is_header else [str(n) for n in range(len(first))]
    time_at = _index(time_column, header) if time_column else None
    names = list(columns) or [name for n, name in enumerate(header) if n != time_at]
    at = [_index(name, header) for name in names]
    table, times = _read_cells(rows if is_header else _with(first, rows), at, time_at, 2 if is_header else 1)
    if not len(table):
        message = "it has no rows"
        raise ValueError(message)
    if time_at is None:
        return Recording({name: table[:, n] for n, name in enumerate(names)})
    grid, left_out = _on_grid(table, times, rate_hz)
    return Recording({name: grid[:, n] for n, name in enumerate(names)}, round(times[0] * 1e6), left_out)


def _with(first: list[str], rows: Iterator[list[str]]) -> Iterator[list[str]]:
    yield first
    yield from rows


def _read_cells(
    rows: Iterator[list[str]], at: Sequence[int], time_at: int | None, first_line: int
) -> tuple[Values, Values]:
    cells: list[list[float]] = []
    times: list[float] = []
    empty = 0
    for line, row in enumerate(rows, first_line):
        if not row:
            empty += 1
            continue
        if len(row) == 1 and empty:
            # Of a single column an empty line is how a missing value is written; at the end it is the file's.
            cells += [[float("nan")] * len(at)] * empty
            times += [0.0] * empty
        empty = 0
        try:
            cells.append([_number(row[n]) for n in at])
            times.append(_time(row[time_at]) if time_at is not None else 0.0)
        except (ValueError, IndexError) as error:
            message = f"line {line}: {error if isinstance(error, ValueError) else 'it has too few cells'}"
            raise ValueError(message) from error
    return np.array(cells, np.float64).reshape(len(cells), len(at)), np.array(times, np.float64)


def _on_grid(table: Values, times: Values, rate_hz: float) -> tuple[Values, int]:
    """The rows on an even grid, NaN where there is none; rows that do not go on in time are left out."""
    slots = np.rint((times - times[0]) * rate_hz).astype(np.int64)
    goes_on = np.concatenate([[True], slots[1:] > np.maximum.accumulate(slots)[:-1]])
    if goes_on.mean() < 0.9:
        message = f"{(~goes_on).sum()} of {len(slots)} rows fall on a sample that is taken: rate_hz is too low"
        raise ValueError(message)
    count = int(slots.max()) + 1
    if count * table.shape[1] * 8 > MAX_BYTES:
        message = f"with {rate_hz} samples per second it has {count}: rate_hz is too high, or the times are wrong"
        raise ValueError(message)
    grid = np.full((count, table.shape[1]), np.nan)
    grid[slots[goes_on]] = table[goes_on]
    return grid, int((~goes_on).sum())


def _index(name: str, header: Sequence[str]) -> int:
    if name in header:
        return header.index(name)
    if name.isascii() and name.isdigit() and int(name) < len(header):
        return int(name)
    message = f"there is no column {name!r}, only {', '.join(header)[:200] or 'none'}"
    raise ValueError(message)


def _is_value(cell: str) -> bool:
    try:
        _time(cell)
    except ValueError:
        return False
    return True


def _number(cell: str) -> float:
    text = cell.strip()
    if text.lower() in MISSING:
        return float("nan")
    try:
        return float(text)
    except ValueError as error:
        message = f"{cell[:40]!r} is no number"
        raise ValueError(message) from error


def _time(cell: str) -> float:
    """Seconds, of whatever beginning; a time without a zone is UTC."""
    text = cell.strip()
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"{cell[:40]!r} is no time: ISO 8601 or seconds are taken"
        raise ValueError(message) from error
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
