"""Verdicts leave as lines of JSON at the end of a file.

Each line is there when `send` returns, though not yet safe from a power cut: what must be safe is in the outbox. A file
that was renamed or removed is made anew. Never leaves half a line before a whole one, a full disk included.
"""

import os
import stat
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter

from edge_agent.errors import OutputError
from edge_agent.judgement import Judgement
from edge_agent.outputs.output import outcome
from edge_agent.outputs.telegram import telegram
from edge_agent.settings import FileOutput as Settings
from edge_protocol.messages import Outcome

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_MODE = 0o644


class FileOutput:
    """A file that somebody reads, rotates or removes as they like."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.name
        self.after_commit = settings.after_commit
        self._path = settings.path
        self._file: int | None = None

    def open(self) -> None:
        """Open the file, or make it.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            self._current()
        except OSError as error:
            message = f"output {self.name!r}: cannot write {self._path}: {error.strerror}"
            raise OutputError(message, "make its folder and let the agent write there") from error

    def send(self, judgement: Judgement) -> Outcome:
        """Append one line."""
        began_s = perf_counter()
        try:
            _append(self._current(), telegram(judgement) + b"\n")
        except OSError as error:
            return outcome(self.name, judgement, began_s, f"{self._path}: {error.strerror}")
        return outcome(self.name, judgement, began_s)

    def settled(self) -> Sequence[Outcome]:
        """Nothing: an outcome is known at once."""
        return ()

    def beat(self, mono_us: int, alive: Collection[str]) -> None:
        """A file has nobody who waits for a sign of life."""

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _current(self) -> int:
        """The open file that `path` means now."""
        if self._file is not None and not _is_at(self._file, self._path):
            self.close()
        if self._file is None:
            file = os.open(self._path, _FLAGS, _MODE)
            _end_line(file)
            self._file = file
        return self._file


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _append(file: int, line: bytes) -> None:
    """Write the whole line or, when the disk has no room for it, nothing."""
    before = os.fstat(file)
    written = 0
    try:
        while written < len(line):
            written += os.write(file, line[written:])
    except OSError:
        if written and stat.S_ISREG(before.st_mode):
            os.ftruncate(file, before.st_size)
        raise


def _end_line(file: int) -> None:
    """End the half line that a kill may have left."""
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        with suppress(OSError):  # A full disk: the next line is then tried on its own, and says so.
            os.write(file, b"\n")
