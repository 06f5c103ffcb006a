"""Files that appear in a folder come in as samples; after its verdict each goes to `processed` or `failed`.

A file is taken only when it has stopped changing, oldest first, and is moved only when its verdict is known: what a
kill leaves behind is found again. Never deletes or overwrites a file.
"""

import errno
import fnmatch
import os
from collections import deque
from pathlib import Path
from typing import NamedTuple

from edge_agent.errors import SourceError
from edge_agent.sample import Channel, Sample, Trigger
from edge_agent.settings import FolderSource as Settings
from edge_protocol.codes import Reason, Verdict

IMAGE_CHANNEL = "image"
MAX_FILE_BYTES = 64 * 1024 * 1024
"""More is not read: a file that large is no picture of one part."""

LOOK_US = 50_000
"""Shortest time between two readings of the folder: one of ten thousand files is work to list."""

_UNFINISHED = (".tmp", ".part", ".partial")


class _Seen(NamedTuple):
    """A file's size and times, and since when it has had them."""

    stamp: tuple[int, int, int]
    since_us: int


class FolderSource:
    """A folder that something outside fills."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._path = settings.path
        self._ready: deque[Path] = deque()
        self._seen: dict[str, _Seen] = {}
        self._taken: dict[int, Path] = {}
        self._looked_us = -LOOK_US

    def open(self) -> None:
        """Make the two folders for what is judged.

        Raises:
            SourceError: the folder is missing, not writable, or the two lie on another file system.
        """
        if not self._path.is_dir():
            message = f"source {self._settings.name!r}: {self._path} is no folder"
            raise SourceError(message, "make it, or correct `path`")
        try:
            for target in (self._target(Verdict.OK), self._target(Verdict.UNINSPECTED)):
                target.mkdir(exist_ok=True)
                self._check(target)
        except OSError as error:
            message = f"source {self._settings.name!r}: {error.filename}: {error.strerror}"
            raise SourceError(message, "the agent must be able to write there, to move what is judged") from error

    def waiting(self, mono_us: int) -> bool:
        """Whether a whole file is there that no trigger has taken.

        Raises:
            SourceError: the folder has gone away.
        """
        if not self._ready and mono_us - self._looked_us >= LOOK_US:
            self._looked_us = mono_us
            self._look(mono_us)
        return bool(self._ready)

    def grab(self, trigger: Trigger) -> Sample:
        """The oldest whole file, its part named by the file's stem."""
        try:
            if not self.waiting(trigger.mono_us):
                return Sample(fault=Reason.SOURCE_FAULT, detail="no file is there")
        except SourceError as error:
            return Sample(fault=Reason.SOURCE_FAULT, detail=str(error))
        path = self._ready.popleft()
        self._taken[trigger.n] = path
        try:
            data = _read_whole(path)
        except (OSError, ValueError) as error:
            return Sample(part=path.stem, fault=Reason.UNREADABLE, detail=f"{path.name}: {error}")
        name = self._settings.channel if path.suffix == ".npy" else IMAGE_CHANNEL
        return Sample({name: Channel(data, trigger.mono_us)}, part=path.stem)

    def done(self, trigger: Trigger, verdict: Verdict) -> None:
        """Move the trigger's file: to `failed` when it could not be inspected, else to `processed`.

        Raises:
            SourceError: it could not be moved. It stays where it is and is not taken again by this run.
        """
        path = self._taken.get(trigger.n)
        if path is None:
            return
        target = self._target(verdict) / path.name
        if target.exists():
            target = target.with_name(f"{path.stem}-{trigger.epoch}-{trigger.n}{path.suffix}")
        try:
            path.rename(target)
        except OSError as error:
            if path.exists():  # Else somebody else has taken it away, and there is nothing left to do.
                message = f"source {self._settings.name!r}: cannot move {path} to {target.parent}: {error.strerror}"
                raise SourceError(message, "let the agent write there, or make the folder again") from error
        del self._taken[trigger.n]

    def close(self) -> None:
        """Forget what was seen; what was not taken is found again."""
        self._ready.clear()
        self._seen.clear()

    def _target(self, verdict: Verdict) -> Path:
        name = self._settings.failed if verdict is Verdict.UNINSPECTED else self._settings.processed
        return self._path / name

    def _check(self, target: Path) -> None:
        if not os.access(target, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
        if target.stat().st_dev != self._path.stat().st_dev:
            message = f"source {self._settings.name!r}: {target} lies on another file system"
            raise SourceError(message, "take a folder beside the files: moving must be one step")

    def _look(self, mono_us: int) -> None:
        """Read the folder; a file that has not changed for `settle_s` is ready."""
        taken = {path.name for path in list(self._taken.values())}
        seen: dict[str, _Seen] = {}
        try:
            with os.scandir(self._path) as entries:
                for entry in entries:
                    if entry.name not in taken and self._is_wanted(entry):
                        seen[entry.name] = self._observe(entry, mono_us)
        except OSError as error:
            message = f"source {self._settings.name!r}: cannot read {self._path}: {error.strerror}"
            raise SourceError(message, "is the share mounted? It is tried again") from error
        self._seen = seen
        settled_us = mono_us - round(self._settings.settle_s * 1e6)
        ready = sorted((s.stamp[1], name) for name, s in seen.items() if s.since_us <= settled_us)
        self._ready.extend(self._path / name for _, name in ready)

    def _is_wanted(self, entry: "os.DirEntry[str]") -> bool:
        name = entry.name
        if name.startswith(".") or name.endswith(_UNFINISHED) or not fnmatch.fnmatch(name, self._settings.pattern):
            return False
        return entry.is_file(follow_symlinks=False)

    def _observe(self, entry: "os.DirEntry[str]", mono_us: int) -> _Seen:
        try:
            stat = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return _Seen((0, 0, 0), mono_us)
        stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        before = self._seen.get(entry.name)
        return before if before is not None and before.stamp == stamp else _Seen(stamp, mono_us)


def _read_whole(path: Path) -> bytes:
    """The file's bytes.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too large, or changed while it was read.
    """
    with path.open("rb") as file:
        before = os.fstat(file.fileno())
        if before.st_size > MAX_FILE_BYTES:
            message = f"{before.st_size} bytes, at most {MAX_FILE_BYTES} are read"
            raise ValueError(message)
        data = file.read(MAX_FILE_BYTES + 1)
        after = os.fstat(file.fileno())
    if len(data) != before.st_size or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        message = "it changed while it was read"
        raise ValueError(message)
    return data
