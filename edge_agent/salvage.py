"""A broken database gives up what can still be read: rows come in from the old file, whole, and go into a new one.

Knows no driver: `unreadable` is the exception that a damaged page raises. Never writes to the old file.
"""

import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

PAGE_BYTES = 4096
CHUNK_ROWS = 1000
"""Rows of one transaction into the new file; a cut between two of them is healed by doing it again."""

STREAMS = ("verdicts", "events", "drift", "outcomes", "metrics", "captures")
TABLES = ("runs", "contexts", "cursors", *STREAMS, "updates", "letters")
KEYED = {
    "floors": "kind, name",
    "slots": "pipeline",
    "refused": "pipeline, digest",
    "points": "pipeline",
    "numbers": "pipeline",
    "plans": "fingerprint, digest",
}
"""Tables without a row's number, and their keys: what runs and how, and what this gateway never goes back behind."""

META = ("floor_us",)
"""What of `meta` is true of the new file too; its epoch and its cleanness are its own."""

Row: TypeAlias = tuple[Any, ...]


class Database(Protocol):
    """What is needed of a connection."""

    def execute(self, sql: str, bindings: Sequence[Any] = ()) -> Iterator[Any]:
        """Run one statement."""

    def executemany(self, sql: str, bindings: Sequence[Any]) -> object:
        """Run one statement for each of the bindings."""


@dataclass(frozen=True, slots=True)
class Salvage:
    """What became of a database that could not be read: where it lies, why, and how many rows came over by table."""

    folder: str
    reason: str
    rows: dict[str, int] = field(default_factory=dict)


def mend(path: Path, sound: Path, copy: Path) -> None:
    """Copy a database whose first page is lost, and give it that of a sound one: the same migrations made the same."""
    with suppress(OSError):
        shutil.copyfile(path, copy)
        if (wal := path.with_name(path.name + "-wal")).exists():
            shutil.copyfile(wal, copy.with_name(copy.name + "-wal"))
        with sound.open("rb") as source, copy.open("r+b") as target:
            first = bytearray(source.read(PAGE_BYTES))
            # Its own number of pages, and none of them free: header fields at 28, 32 and 36.
            struct.pack_into(">III", first, 28, copy.stat().st_size // PAGE_BYTES, 0, 0)
            target.write(first)


def copy_all(old: Database, new: Database, unreadable: type[Exception]) -> dict[str, int]:
    """Copy every readable row of `TABLES` and `KEYED` and what of `META` holds; the number of rows by table."""
    counts = {table: _copy(old, new, table, unreadable) for table in (*KEYED, *TABLES)}
    rows = [row for row in _read(old, "SELECT name, value FROM meta", (), unreadable) if row[0] in META]
    new.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)
    return counts


def _copy(old: Database, new: Database, table: str, unreadable: type[Exception]) -> int:
    columns = [row[1] for row in new.execute(f"PRAGMA table_info({table})")]
    names = ", ".join(columns)
    insert = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 (our own names)
    return sum(_insert(new, insert, chunk, unreadable) for chunk in _chunks(_rows(old, table, names, unreadable)))


def _insert(new: Database, insert: str, rows: list[Row], unreadable: type[Exception]) -> int:
    new.execute("BEGIN IMMEDIATE")
    try:
        new.executemany(insert, rows)
    except unreadable:
        new.execute("ROLLBACK")
        # A damaged page may hold a value that its column refuses: then that row alone is lost, not its chunk.
        return sum(_insert(new, insert, [row], unreadable) for row in rows) if len(rows) > 1 else 0
    new.execute("COMMIT")
    return len(rows)


def _rows(old: Database, table: str, names: str, unreadable: type[Exception]) -> Iterator[Row]:
    """The rows from the low end up to the first damaged page, then from the high end down to the last one."""
    if table in KEYED:
        seen: set[Row] = set()
        for order in (KEYED[table], KEYED[table].replace(",", " DESC,") + " DESC"):
            for row in _read(old, f"SELECT {names} FROM {table} ORDER BY {order}", (), unreadable):  # noqa: S608
                if row not in seen:
                    seen.add(row)
                    yield row
        return
    last = -1
    for row in _read(old, f"SELECT {names} FROM {table} ORDER BY id", (), unreadable):  # noqa: S608
        last = row[0]
        yield row
    yield from _read(old, f"SELECT {names} FROM {table} WHERE id > ? ORDER BY id DESC", (last,), unreadable)  # noqa: S608


def _read(old: Database, sql: str, bindings: Row, unreadable: type[Exception]) -> Iterator[Row]:
    try:
        yield from old.execute(sql, bindings)
    except unreadable:
        return


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK_ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
