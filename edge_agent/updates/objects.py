"""Files by their SHA-256: pieces come in at offsets, whole files whose digest was checked are there under their name.

A file that is begun goes on where it was after a restart. Never keeps what is not what its name says.
"""

import hashlib
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from edge_agent import durable
from edge_protocol.updates import Refusal, UpdateRefused

KEEP_FREE_BYTES = 16 * 2**20
"""Left of the disk for the records of the line, whatever an update would need."""

_CHUNK_BYTES = 2**20


class Objects:
    """The store in `folder`, made if it is not there. Belongs to one thread."""

    def __init__(self, folder: Path, *, record: durable.Recorder | None = None) -> None:
        """Raises OSError: the folder cannot be made."""
        durable.make_folder(folder, record=record)
        self._folder = folder
        self._record = record
        self._mine: set[str] = set()
        self._reserve = folder / ".reserve"

    def path(self, sha256: str) -> Path:
        """Where the object lies once it is whole."""
        return self._folder / sha256

    def has(self, sha256: str) -> bool:
        """Whether it is there, whole."""
        return self.path(sha256).is_file()

    def check(self, sha256: str) -> bool:
        """Whether it is there and still what its name says: a disk forgets. A damaged one is deleted."""
        try:
            with self.path(sha256).open("rb") as file:
                is_whole = hashlib.file_digest(file, "sha256").hexdigest() == sha256
        except OSError:
            is_whole = False
        if not is_whole:
            self.path(sha256).unlink(missing_ok=True)
        return is_whole

    def read(self, sha256: str) -> bytes:
        """The bytes of an object that is there."""
        return self.path(sha256).read_bytes()

    def offset(self, sha256: str, length: int) -> int:
        """From where on its bytes are missing; its length when it is whole."""
        if self.has(sha256):
            return length
        part = self._part(sha256)
        size = part.stat().st_size if part.exists() else 0
        if size > length:
            part.unlink()
            return 0
        return size

    def reserve(self, wanted: Mapping[str, int]) -> None:
        """Take the room that `wanted` (length by digest) still needs, before the first byte is asked for.

        Raises:
            UpdateRefused: OUT_OF_SPACE: with how much is missing; nothing is held.
        """
        self.release()
        missing = sum(length - self.offset(sha256, length) for sha256, length in wanted.items())
        if not missing:
            return
        lacking = missing + KEEP_FREE_BYTES - shutil.disk_usage(self._folder).free
        if lacking > 0:
            raise UpdateRefused(Refusal.OUT_OF_SPACE, _lacking(lacking))
        try:
            with self._reserve.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, missing)
        except OSError as error:
            self.release()
            raise UpdateRefused(Refusal.OUT_OF_SPACE, _lacking(missing)) from error

    def release(self) -> None:
        """Give up what room is still held."""
        self._reserve.unlink(missing_ok=True)

    def write(self, sha256: str, length: int, offset: int, data: bytes) -> bool:
        """Put a piece at `offset`; whether it was the next. One that came before or leaves a hole changes nothing.

        Raises:
            UpdateRefused: OUT_OF_SPACE: somebody else has filled the disk.
        """
        at = self.offset(sha256, length)
        if self.has(sha256) or not offset <= at < offset + len(data) <= length:
            return False
        piece = data[at - offset :]
        if at == 0:
            self._mine.add(sha256)
        self._shrink(len(piece))
        try:
            with self._part(sha256).open("ab") as file:
                file.write(piece)
        except OSError as error:
            raise UpdateRefused(Refusal.OUT_OF_SPACE, _lacking(length - at)) from error
        return True

    def finish(self, sha256: str) -> bool:
        """Check what was written and keep it; False if it has to be fetched once more, from its start.

        Only a file that was begun before a restart gets this second chance: a power cut may have eaten a piece of it.

        Raises:
            UpdateRefused: TAMPERED: what came is not what was signed.
        """
        part = self._part(sha256)
        part.touch()  # a file of nothing has no pieces
        with part.open("rb") as file:
            is_whole = hashlib.file_digest(file, "sha256").hexdigest() == sha256
        if is_whole:
            durable.finish_file(part, self.path(sha256), record=self._record)
            self._mine.discard(sha256)
            return True
        part.unlink()
        if sha256 in self._mine:
            self._mine.discard(sha256)
            raise UpdateRefused(Refusal.TAMPERED, f"what came for {sha256[:12]} is another file")
        return False

    def adopt(self, path: Path, sha256: str, length: int) -> bool:
        """Take a file of this disk, if it is the one with this digest; whether it is there now.

        It is copied, not linked: whoever placed it may write into it.
        """
        if self.has(sha256):
            return True
        part = self._part(sha256)
        try:
            if path.is_symlink() or path.stat().st_size != length:
                return False
            shutil.copyfile(path, part)
            with part.open("rb") as file:
                is_same = hashlib.file_digest(file, "sha256").hexdigest() == sha256
            if is_same:
                durable.finish_file(part, self.path(sha256), record=self._record)
                return True
            part.unlink()
        except OSError:
            part.unlink(missing_ok=True)
        return False

    def collect(self, keep: Collection[str]) -> None:
        """Delete every object, whole or begun, whose digest is not in `keep`."""
        for path in self._folder.iterdir():
            if path != self._reserve and path.name.removesuffix(".part") not in keep:
                path.unlink()

    def _part(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.part"

    def _shrink(self, size: int) -> None:
        """Hand over a piece of the reserve to the file that grows by it."""
        if self._reserve.exists():
            os.truncate(self._reserve, max(0, self._reserve.stat().st_size - size))


def _lacking(size: int) -> str:
    return f"{max(1, -(-size // 2**20))} MB of disk space are missing"
