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


@dataclass(slots=True)
class Head:
    """Where a stream is written: its next number, the totals of what it has, its highest trigger and latest time."""

    id: int
    epoch: int
    next: int
    totals: Totals
    last_trigger: int
    last_at_us: int


def row_id(epoch: int, seq: int) -> int:
    """A row's id in its table."""
    return epoch << SEQ_BITS | seq


def advance(connection: Connection, epoch: int, stream: str, count: int) -> int:
    """Give out `count` numbers of a stream; the first of them."""
    head = head_of(connection, epoch, stream)
    connection.execute("UPDATE cursors SET next = ? WHERE id = ?", (head.next + count, head.id))
    return head.next


def head_of(connection: Connection, epoch: int, stream: str) -> Head:
    """The head of a stream, whose cursor is made if there is none."""
    sql = "SELECT id, next, totals, last_trigger, last_at_us FROM cursors WHERE epoch = ? AND stream = ?"
    for number, following, totals, trigger, at_us in fetch(connection, sql, (epoch, stream)):
        return Head(number, epoch, following, _totals.decode(totals), trigger, at_us)
    save(connection, Cursor(epoch, stream))
    return head_of(connection, epoch, stream)


def save_head(connection: Connection, head: Head) -> None:
    """Write the head of a stream down."""
    # One row with all that changes in each commit: another table would be another page to write and to sync.
    sql = "UPDATE cursors SET next = ?, totals = ?, last_trigger = ?, last_at_us = ? WHERE id = ?"
    totals = msgspec.json.encode(head.totals).decode()
    connection.execute(sql, (head.next, totals, head.last_trigger, head.last_at_us, head.id))


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
