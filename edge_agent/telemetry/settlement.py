"""A receipt is worked in: what the hub has may go, what it refused gets new numbers, what is lost is declared.

Works inside the caller's transaction, so a receipt counts as a whole or not at all; the same receipt twice is once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from edge_agent.store import Connection, fetch
from edge_agent.telemetry import cursors
from edge_agent.telemetry.cursors import Cursor, row_id
from edge_agent.telemetry.record import table_of
from edge_protocol import ranges
from edge_protocol.codes import Stream
from edge_protocol.messages import AnyRecord, Fault, Gap, Receipt
from edge_protocol.ranges import EMPTY, Ranges

Tell: TypeAlias = Callable[[AnyRecord], None]
"""Append an event in the same transaction."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What a receipt says of a cursor's numbers. `taken`: the hub's own, of a life of this disk that we do not know."""

    committed: Ranges
    conflicts: Ranges
    next: int
    taken: Ranges = EMPTY


def judge(cursor: Cursor, receipt: Receipt) -> Settled:
    """What `receipt` means for `cursor`. Pure.

    Only what the hub compared may go. When it has numbers that were never given here, the disk was restored: those
    are taken over, so that they are not given twice.
    """
    answers = receipt.answers or ranges.union(receipt.committed, receipt.conflicts)
    conflicts = ranges.intersect(ranges.intersect(receipt.conflicts, answers), cursor.held)
    good = ranges.subtract(ranges.intersect(answers, receipt.committed), receipt.conflicts)
    high = max((last for _, last in receipt.committed), default=0)
    following = max(cursor.next, high + 1)
    taken = ranges.intersect(receipt.committed, ((cursor.next, high),)) if following > cursor.next else EMPTY
    return Settled(ranges.intersect(good, cursor.held), conflicts, following, taken)


def apply(connection: Connection, receipt: Receipt, epoch: int, new_epoch: Callable[[], int], tell: Tell) -> None:
    """Work `receipt` in. `epoch` is where new rows go now; it is left when the hub knows it otherwise."""
    cursor = cursors.load(connection, receipt.epoch, receipt.stream)
    if cursor is None:
        return
    settled = judge(cursor, receipt)
    if settled == Settled(EMPTY, EMPTY, cursor.next):
        return
    if receipt.stream != Stream.VERDICTS:
        for first, last in settled.committed:
            delete(connection, cursor, first, last)
    committed = ranges.union(cursor.committed, ranges.union(settled.committed, settled.conflicts))
    after = replace(cursor, committed=ranges.union(committed, settled.taken), next=settled.next)
    cursors.save(connection, after)
    if (settled.conflicts or settled.taken) and receipt.epoch == epoch:
        epoch = new_epoch()
    for first, last in settled.conflicts:
        _move(connection, cursor, first, last, epoch)
    if settled.conflicts:
        _tell_fault(tell, cursor, "conflict", f"{ranges.count(settled.conflicts)} rows moved to epoch {epoch}")
    if settled.taken:
        _tell_fault(tell, cursor, "restored", f"the hub knows numbers up to {settled.next - 1}")
        declare_missing(connection, after, "restored", tell)


def declare_missing(connection: Connection, cursor: Cursor, reason: str, tell: Tell) -> Cursor:
    """Declare what a cursor holds by its numbers and the table does not have."""
    present: list[tuple[int, int]] = []
    sql = f"SELECT id & 4294967295 FROM {table_of(cursor.stream)} WHERE id BETWEEN ? AND ? ORDER BY id"  # noqa: S608
    for first, last in cursor.held:
        for (number,) in fetch(connection, sql, (row_id(cursor.epoch, first), row_id(cursor.epoch, last))):
            if present and present[-1][1] + 1 == number:
                present[-1] = (present[-1][0], number)
            else:
                present.append((number, number))
    return declare(connection, cursor, ranges.subtract(cursor.held, tuple(present)), reason, tell)


def declare(connection: Connection, cursor: Cursor, missing: Ranges, reason: str, tell: Tell) -> Cursor:
    """Write down that `missing` will never arrive, in the cursor and as events."""
    if not missing:
        return cursor
    after = replace(cursor, declared=ranges.union(cursor.declared, missing))
    cursors.save(connection, after)
    for first, last in missing:
        tell(Gap(epoch=cursor.epoch, stream=cursor.stream, first=first, last=last, reason=reason))
    return after


def delete(connection: Connection, cursor: Cursor, first: int, last: int) -> None:
    """Delete the rows of some numbers."""
    sql = f"DELETE FROM {table_of(cursor.stream)} WHERE id BETWEEN ? AND ?"  # noqa: S608 (a stream's name)
    connection.execute(sql, (row_id(cursor.epoch, first), row_id(cursor.epoch, last)))


def _move(connection: Connection, cursor: Cursor, first: int, last: int, epoch: int) -> None:
    """Give rows new numbers, in their order."""
    start = cursors.advance(connection, epoch, cursor.stream, last - first + 1)
    low, high = row_id(cursor.epoch, first), row_id(cursor.epoch, last)
    sql = f"UPDATE {table_of(cursor.stream)} SET id = id + ? WHERE id BETWEEN ? AND ?"  # noqa: S608 (a stream's name)
    connection.execute(sql, (row_id(epoch, start) - low, low, high))


def _tell_fault(tell: Tell, cursor: Cursor, reason: str, detail: str) -> None:
    tell(Fault(part="outbox", name=cursor.stream, reason=reason, active=True, detail=f"epoch {cursor.epoch}: {detail}"))


def known_streams(connection: Connection) -> list[tuple[int, str]]:
    """Every (epoch, stream) that has rows, whether or not there is a cursor for it."""
    known = []
    for stream in Stream:
        sql = f"SELECT DISTINCT id >> 32 FROM {table_of(stream)}"  # noqa: S608 (a stream's name)
        known += [(int(epoch), stream.value) for (epoch,) in fetch(connection, sql)]
    return known
