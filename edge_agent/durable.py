"""Files that must survive a power cut: what comes in is a path and bytes, what is on disk after any cut is old or new.

Each step is an `Operation`, and a caller may have them recorded: a test replays every prefix of them and every legal
loss of what was not yet synced. Nothing else in the agent writes such files, and the database writes its own.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias


class Kind(StrEnum):
    """What an operation does to the disk."""

    MAKE_FOLDER = "make-folder"
    WRITE = "write"
    LINK = "link"
    SYNC_FILE = "sync-file"
    RENAME = "rename"
    REMOVE = "remove"
    CLEAR_FOLDER = "clear-folder"
    SYNC_FOLDER = "sync-folder"


@dataclass(frozen=True, slots=True)
class Operation:
    """One step on the disk. `target` is where a rename or a link leads; `data` and `mode` are a write's."""

    kind: Kind
    path: Path
    target: Path | None = None
    data: bytes = b""
    mode: int = 0o644


Recorder: TypeAlias = Callable[[Operation], None]
"""Called with each operation before it is done: raising is a crash just before it."""


def write_file(path: Path, data: bytes, mode: int = 0o644, *, record: Recorder | None = None) -> None:
    """Put `data` at `path`, whole or not at all.

    Raises:
        OSError: as the system says it; `path` is then as it was.
    """
    draft = path.with_name(f".{path.name}.new")
    operations = (
        Operation(Kind.WRITE, draft, data=data, mode=mode),
        Operation(Kind.SYNC_FILE, draft),
        Operation(Kind.RENAME, draft, target=path),
        Operation(Kind.SYNC_FOLDER, path.parent),
    )
    try:
        _run(operations, record)
    except OSError:
        with suppress(OSError):  # half a draft on a full disk takes room that somebody needs
            draft.unlink(missing_ok=True)
        raise


def finish_file(draft: Path, path: Path, *, record: Recorder | None = None) -> None:
    """Put what was written piece by piece into `draft` at `path`, in the same folder: whole or not at all."""
    operations = (
        Operation(Kind.SYNC_FILE, draft),
        Operation(Kind.RENAME, draft, target=path),
        Operation(Kind.SYNC_FOLDER, path.parent),
    )
    _run(operations, record)


def write_folder(
    path: Path, files: Mapping[str, bytes], links: Mapping[str, Path], *, record: Recorder | None = None
) -> None:
    """A new folder at `path` with `files` by name and hard links to files that are on disk: whole or not at all.

    Raises:
        OSError: as the system says it; there is no `path` then.
    """
    draft = path.with_name(f".{path.name}.new")
    names = {draft / name: name for name in (*files, *links)}
    inner = dict.fromkeys(parent for each in names for parent in reversed(each.parents) if parent.is_relative_to(draft))
    operations = [Operation(Kind.CLEAR_FOLDER, draft), *(Operation(Kind.MAKE_FOLDER, each) for each in inner)]
    for place, name in names.items():
        if name in files:
            operations += [Operation(Kind.WRITE, place, data=files[name]), Operation(Kind.SYNC_FILE, place)]
        else:
            operations.append(Operation(Kind.LINK, links[name], target=place))
    operations += [Operation(Kind.SYNC_FOLDER, each) for each in reversed(inner)]
    operations += [Operation(Kind.RENAME, draft, target=path), Operation(Kind.SYNC_FOLDER, path.parent)]
    _run(tuple(operations), record)


def remove_folder(path: Path, *, record: Recorder | None = None) -> None:
    """Delete the folder `path` with all in it: under its own name it is whole or not there."""
    grave = path.with_name(f".{path.name}.old")
    operations = (
        Operation(Kind.CLEAR_FOLDER, grave),
        Operation(Kind.RENAME, path, target=grave),
        Operation(Kind.SYNC_FOLDER, path.parent),
        Operation(Kind.CLEAR_FOLDER, grave),
    )
    _run(operations, record)


def make_folder(path: Path, *, record: Recorder | None = None) -> None:
    """Make `path` and what is missing above it, so that each of them survives."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        _run((Operation(Kind.MAKE_FOLDER, folder), Operation(Kind.SYNC_FOLDER, folder.parent)), record)


def rename(path: Path, target: Path, *, record: Recorder | None = None) -> None:
    """Move `path` to `target` on the same file system, replacing it. After a cut it may be at both, never at none."""
    folders = dict.fromkeys((target.parent, path.parent))
    syncs = (Operation(Kind.SYNC_FOLDER, folder) for folder in folders)
    _run((Operation(Kind.RENAME, path, target=target), *syncs), record)


def remove(path: Path, *, record: Recorder | None = None) -> None:
    """Delete `path`, for good."""
    _run((Operation(Kind.REMOVE, path), Operation(Kind.SYNC_FOLDER, path.parent)), record)


def sync_folder(path: Path) -> None:
    """Make the names in `path` survive, whoever wrote them."""
    _sync(Operation(Kind.SYNC_FOLDER, path))


def _run(operations: tuple[Operation, ...], record: Recorder | None) -> None:
    for operation in operations:
        if record is not None:
            record(operation)
        _DO[operation.kind](operation)


def _make_folder(operation: Operation) -> None:
    operation.path.mkdir(exist_ok=True)


def _write(operation: Operation) -> None:
    # The mode is given at creation: a secret is never readable by others, not even for a moment.
    operation.path.unlink(missing_ok=True)
    file = os.open(operation.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, operation.mode)
    with os.fdopen(file, "wb") as stream:
        stream.write(operation.data)


def _link(operation: Operation) -> None:
    if operation.target is not None:
        operation.target.hardlink_to(operation.path)


def _clear_folder(operation: Operation) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(operation.path)


def _rename(operation: Operation) -> None:
    if operation.target is not None:
        operation.path.replace(operation.target)


def _remove(operation: Operation) -> None:
    operation.path.unlink(missing_ok=True)


def _sync(operation: Operation) -> None:
    file = os.open(operation.path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


_DO: dict[Kind, Callable[[Operation], None]] = {
    Kind.MAKE_FOLDER: _make_folder,
    Kind.WRITE: _write,
    Kind.LINK: _link,
    Kind.SYNC_FILE: _sync,
    Kind.RENAME: _rename,
    Kind.REMOVE: _remove,
    Kind.CLEAR_FOLDER: _clear_folder,
    Kind.SYNC_FOLDER: _sync,
}
