"""A database that cannot be trusted is moved aside: it comes in by path, and lies in `quarantine/<utc>/` afterwards.

A marker is written first and renamed last, so a cut at any moment ends in the same place. Never deletes, never opens.
"""

from datetime import UTC, datetime
from pathlib import Path

from edge_agent import durable
from edge_agent.durable import Recorder

_PENDING = "pending"
_REASON = "reason.txt"
_SIDES = ("-shm", "-wal", "")
"""The database itself goes last: while it is in its place, the move is not done."""


def move(path: Path, reason: str, at_us: int, *, record: Recorder | None = None) -> None:
    """Move the database `path` and the files beside it into a new folder of `quarantine/`, to be salvaged."""
    name = datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y%m%dT%H%M%SZ")
    root = path.parent / "quarantine"
    taken = {folder.name for folder in root.glob("*")}
    folder = root / next(n for n in (name, *(f"{name}-{i}" for i in range(2, 10_000))) if n not in taken)
    durable.make_folder(folder, record=record)
    durable.write_file(folder / _PENDING, reason.encode(), record=record)
    _move(path, folder, record)


def pending(path: Path) -> list[Path]:
    """The folders whose database is still to be salvaged; a move that was cut short is finished first."""
    folders = sorted(marker.parent for marker in (path.parent / "quarantine").glob(f"*/{_PENDING}"))
    for folder in folders:
        if not (folder / path.name).exists():
            _move(path, folder)
    return folders


def reason_of(folder: Path) -> str:
    """Why the database in `folder` was moved there."""
    return (folder / _PENDING).read_text("utf-8", "replace")


def finish(folder: Path) -> None:
    """Note that what could be read of it has been saved."""
    durable.rename(folder / _PENDING, folder / _REASON)


def _move(path: Path, folder: Path, record: Recorder | None = None) -> None:
    for side in _SIDES:
        source = path.with_name(path.name + side)
        if source.exists():
            durable.rename(source, folder / source.name, record=record)
