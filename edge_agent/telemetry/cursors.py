"""Where each stream of each epoch stands: which numbers were given, which the hub has, which will never come.

Comes from and goes to the `cursors` table, inside the caller's transaction. Never decides what is sent or given up.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from edge_agent.store import Connection, fetch
from edge_protocol import ranges
from edge_protocol.codes import Stream
from edge_protocol.ranges import EMPTY, Ranges

Totals: TypeAlias = dict[str, list[int]]
"""By pipeline, how many of each verdict, in the order of their numbers."""

SEQ_BITS = 32
_PRIORITY = {stream.value: rank for rank, stream in enumerate(Stream)}
_COLUMNS = "SELECT epoch, stream, next, committed, declared, trimmed FROM cursors"


@dataclass(frozen=True, slots=True)
class Cursor:
    """One stream of one epoch. `trimmed`: rows up to it are gone from the operator's history as well."""

    epoch: int
    stream: str
    next: int = 1
    committed: Ranges = EMPTY
    declared: Ranges = EMPTY
    trimmed: int = 0

    @property
    def resolved(self) -> Ranges:
        """What needs no more sending: the hub has it, or it is declared."""
        return ranges.union(self.committed, self.declared)

    @property
    def held(self) -> Ranges:
        """What was made and is not resolved."""
        return ranges.subtract(((1, self.next - 1),), self.resolved) if self.next > 1 else EMPTY


def row_id(epoch: int, seq: int) -> int:
    """A row's id in its table."""
    return epoch << SEQ_BITS | seq


def advance(connection: Connection, epoch: int, stream: str, count: int) -> int:
    """Give out `count` numbers of a stream; the first of them."""
    first, _ = following(connection, epoch, stream)
    sql = "UPDATE cursors SET next = ? WHERE epoch = ? AND stream = ?"
    connection.execute(sql, (first + count, epoch, stream))
    return first


def following(connection: Connection, epoch: int, stream: str) -> tuple[int, Totals]:
    """The next number of a stream, which begins with 1, and the totals of its rows."""
    sql = "SELECT next, totals FROM cursors WHERE epoch = ? AND stream = ?"
    for seq, totals in fetch(connection, sql, (epoch, stream)):
        return int(seq), _totals.decode(totals)
    save(connection, Cursor(epoch, stream))
    return 1, {}


def move(connection: Connection, epoch: int, seq: int, totals: Totals, last: tuple[int, int]) -> None:
    """Let `seq` be the next number of the verdicts; `last` is the highest trigger of the new ones and its time."""
    # One row with all that changes in each commit: another table would be another page to write and to sync.
    sql = (
        "UPDATE cursors SET next = ?, totals = ?, last_trigger = max(last_trigger, ?), "
        "last_at_us = max(last_at_us, ?) WHERE epoch = ? AND stream = 'verdicts'"
    )
    connection.execute(sql, (seq, msgspec.json.encode(totals).decode(), *last, epoch))


def last_trigger(connection: Connection) -> tuple[int, int]:
    """The highest trigger that was ever recorded and the latest time of one; zeros before the first."""
    ((n, at_us),) = fetch(
        connection, "SELECT coalesce(max(last_trigger), 0), coalesce(max(last_at_us), 0) FROM cursors"
    )
    return n, at_us


def all_totals(connection: Connection) -> list[Totals]:
    """The totals of each epoch."""
    return [_totals.decode(totals) for (totals,) in fetch(connection, "SELECT totals FROM cursors")]


def load(connection: Connection, epoch: int, stream: str) -> Cursor | None:
    """The cursor of a stream; None when nothing was ever written to it."""
    rows = fetch(connection, f"{_COLUMNS} WHERE epoch = ? AND stream = ?", (epoch, stream))
    return next(map(_cursor, rows), None)


def load_all(connection: Connection) -> list[Cursor]:
    """All cursors, in the order of sending: by priority of the stream, then the oldest epoch first."""
    cursors = map(_cursor, fetch(connection, f"{_COLUMNS} ORDER BY id"))
    return sorted(cursors, key=lambda cursor: rank(cursor.stream))


def rank(stream: str) -> int:
    """0 for the stream that is sent first and shed last."""
    return _PRIORITY.get(stream, len(_PRIORITY))


def save(connection: Connection, cursor: Cursor) -> None:
    """Write a cursor down. Numbers that were given since it was read stay given."""
    sql = (
        "INSERT INTO cursors (epoch, stream, next, committed, declared, trimmed) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (epoch, stream) DO UPDATE SET next = max(next, excluded.next), committed = excluded.committed, "
        "declared = excluded.declared, trimmed = excluded.trimmed"
    )
    committed, declared = (msgspec.json.encode(part).decode() for part in (cursor.committed, cursor.declared))
    connection.execute(sql, (cursor.epoch, cursor.stream, cursor.next, committed, declared, cursor.trimmed))


_ranges = msgspec.json.Decoder(Ranges)
_totals = msgspec.json.Decoder(Totals)


def _cursor(row: tuple[Any, ...]) -> Cursor:
    epoch, stream, following, committed, declared, trimmed = row
    return Cursor(epoch, stream, following, _ranges.decode(committed), _ranges.decode(declared), trimmed)
