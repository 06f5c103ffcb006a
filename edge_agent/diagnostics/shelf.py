"""Exhibits come in one by one, files under a byte budget result: the oldest go first, and those past their date.

One writer; readers come from other processes and find a whole exhibit or none. Never keeps more than it may.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge_agent import durable
from edge_agent.diagnostics.exhibit import Exhibit, read_exhibit

log = logging.getLogger(__name__)

MAX_KEPT = 20_000
"""Exhibits, whatever the budget: 330 bytes of memory each are 7 MB."""

_BLOCK_BYTES = 4096
"""What a file system takes for a file, at least and in steps."""


@dataclass(frozen=True, slots=True)
class _Kept:
    taken_bytes: int
    until_us: int


class Shelf:
    """A folder of exhibits: `<name>.json`, and `<name>.png` where there is a picture."""

    def __init__(self, folder: Path, budget_bytes: int) -> None:
        """Raises OSError: the folder cannot be made or read."""
        durable.make_folder(folder)
        self._folder = folder
        self._budget_bytes = budget_bytes
        self._kept: dict[str, _Kept] = {}
        self._taken_bytes = 0
        self._take_stock()

    @property
    def taken_bytes(self) -> int:
        """What is on the disk now."""
        return self._taken_bytes

    def put(self, exhibit: Exhibit, picture: bytes = b"") -> None:
        """Keep an exhibit; a picture that the budget does not hold is left out, and the exhibit says so.

        Raises:
            OSError: the disk is full or broken; nothing of it was kept.
        """
        if picture and _taken(picture) + _BLOCK_BYTES > self._budget_bytes:
            picture = b""
            exhibit = msgspec.structs.replace(exhibit, no_picture="it is larger than the whole budget")
        exhibit = msgspec.structs.replace(exhibit, picture=f"{exhibit.name}.png" if picture else "")
        facts = msgspec.json.encode(exhibit)
        taken = _taken(facts) + _taken(picture)
        if taken > self._budget_bytes:
            return
        self._remove(exhibit.name)
        self._make_room(taken, 1)
        # The picture first: an exhibit that is found names a picture that is there.
        if picture:
            durable.write_file(self._folder / exhibit.picture, picture)
        try:
            durable.write_file(self._folder / f"{exhibit.name}.json", facts)
        except OSError:
            (self._folder / f"{exhibit.name}.png").unlink(missing_ok=True)
            raise
        self._kept[exhibit.name] = _Kept(taken, exhibit.until_us)
        self._taken_bytes += taken

    def expire(self, now_us: int) -> None:
        """Remove what is past its date."""
        for name in [name for name, kept in self._kept.items() if 0 < kept.until_us <= now_us]:
            self._remove(name)

    def _make_room(self, wanted_bytes: int, wanted: int) -> None:
        most, most_bytes = MAX_KEPT - wanted, self._budget_bytes - wanted_bytes
        while self._kept and (self._taken_bytes > most_bytes or len(self._kept) > most):
            self._remove(next(iter(self._kept)))

    def _remove(self, name: str) -> None:
        kept = self._kept.pop(name, None)
        if kept is None:
            return
        self._taken_bytes -= kept.taken_bytes
        for ending in ("json", "png"):
            with suppress(OSError):
                (self._folder / f"{name}.{ending}").unlink(missing_ok=True)

    def _take_stock(self) -> None:
        """What an earlier run has left, the oldest first; halves of exhibits go."""
        found: list[tuple[int, str, _Kept]] = []
        for path in self._folder.glob("*.json"):
            exhibit = read_exhibit(path)
            if exhibit is None or exhibit.name != path.stem:
                path.unlink(missing_ok=True)
                continue
            files = [path, *([self._folder / exhibit.picture] if exhibit.picture else [])]
            taken = sum(_rounded(file.stat().st_size) for file in files if file.is_file())
            found.append((path.stat().st_mtime_ns, exhibit.name, _Kept(taken, exhibit.until_us)))
        self._kept = {name: kept for _, name, kept in sorted(found, key=lambda each: each[:2])}
        self._taken_bytes = sum(kept.taken_bytes for kept in self._kept.values())
        for path in (*self._folder.glob("*.png"), *self._folder.glob(".*.new")):
            if path.stem not in self._kept:
                path.unlink(missing_ok=True)
        self._make_room(0, 0)


def _taken(content: bytes) -> int:
    return _rounded(len(content)) if content else 0


def _rounded(size: int) -> int:
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES
