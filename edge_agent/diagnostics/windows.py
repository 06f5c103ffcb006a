"""The latest window verdicts with their reasons, in one file of fixed size: the newest takes the oldest one's place.

No sync: a kill loses nothing, a power cut may lose the last seconds, and what it tears is not read.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from edge_agent.diagnostics.exhibit import Exhibit

SLOT_BYTES = 1024
_HEAD = struct.Struct("<IIQQQ")
"""CRC-32 of what follows, length of the body, number of the entry, epoch, trigger."""

ROOM_BYTES = SLOT_BYTES - _HEAD.size


class WindowRing:
    """A file of `slots` exhibits. One writer; readers come from other processes."""

    def __init__(self, path: Path, slots: int) -> None:
        """Raises OSError: the file cannot be made or read."""
        self._slots = slots
        # Not mapped into memory: on a full disk a write fails, a store into a mapping kills the process.
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        os.ftruncate(self._file, min(os.fstat(self._file).st_size, slots * SLOT_BYTES))
        self._next = 1 + max((number for number, _ in _entries(path)), default=-1)

    def put(self, exhibit: Exhibit) -> None:
        """Keep an exhibit; one that a slot does not hold is kept with fewer reasons.

        Raises:
            OSError: the disk is full or broken.
        """
        body = _fitted(exhibit)
        explanation = exhibit.explanation
        rest = _HEAD.pack(0, len(body), self._next, explanation.epoch, explanation.trigger)[4:] + body
        place = self._next % self._slots * SLOT_BYTES
        os.pwrite(self._file, (zlib.crc32(rest).to_bytes(4, "little") + rest).ljust(SLOT_BYTES, b"\0"), place)
        self._next += 1

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def find(path: Path, epoch: int | None, trigger: int) -> list[Exhibit]:
    """What the ring at `path` knows of a trigger, the newest first."""
    found = []
    for number, slot in sorted(_entries(path, (epoch, trigger)), reverse=True):
        with suppress(msgspec.MsgspecError):
            found.append((number, msgspec.msgpack.decode(slot, type=Exhibit)))
    return [exhibit for _, exhibit in found]


def _entries(path: Path, wanted: tuple[int | None, int] | None = None) -> Iterator[tuple[int, bytes]]:
    """Number and body of each whole slot, or of those of one trigger."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    for place in range(0, len(content) - SLOT_BYTES + 1, SLOT_BYTES):
        crc, length, number, epoch, trigger = _HEAD.unpack_from(content, place)
        if wanted is not None and (trigger != wanted[1] or wanted[0] not in (None, epoch)):
            continue
        if 0 < length <= ROOM_BYTES:
            end = place + _HEAD.size + length
            if zlib.crc32(content[place + 4 : end]) == crc:
                yield number, content[place + _HEAD.size : end]


def _fitted(exhibit: Exhibit) -> bytes:
    body = msgspec.msgpack.encode(exhibit)
    while len(body) > ROOM_BYTES and exhibit.explanation.reasons:
        fewer = msgspec.structs.replace(exhibit.explanation, reasons=exhibit.explanation.reasons[:-1])
        exhibit = msgspec.structs.replace(exhibit, explanation=fewer)
        body = msgspec.msgpack.encode(exhibit)
    return body[:ROOM_BYTES]
