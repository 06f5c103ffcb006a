"""What an operator asks of the running agent: files in a folder, written by the command line, read once a second."""

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edge_agent import durable

_MOST_BYTES = 4096


class Rollback(msgspec.Struct, frozen=True, kw_only=True):
    """Put back the model before `digest`, which the operator saw running."""

    pipeline: str
    digest: str
    actor: str
    reason: str


def write(folder: Path, request: Rollback) -> Path:
    """Ask; the file, which is gone when the agent has dealt with it.

    Raises:
        OSError: the folder cannot be written.
    """
    durable.make_folder(folder)
    path = folder / f"rollback-{request.pipeline}-{time.time_ns()}.json"
    durable.write_file(path, msgspec.json.encode(request))
    return path


def read(folder: Path) -> Iterator[tuple[Path, Rollback | None]]:
    """Each file of the folder with what it asks for, the oldest first; None for one that asks for nothing known."""
    for path in sorted(folder.glob("*.json")):
        try:
            with path.open("rb") as file:
                yield path, msgspec.json.decode(file.read(_MOST_BYTES), type=Rollback)
        except (OSError, msgspec.MsgspecError):
            yield path, None
