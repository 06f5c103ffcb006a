"""Room is made: history that the hub has goes first, then the oldest of the least important stream, declared as a gap.

Works inside the caller's transaction: a row and the note that it is gone change together, or neither does.
"""

from dataclasses import replace

from edge_agent.store import Connection, fetch
from edge_agent.telemetry import cursors
from edge_agent.telemetry.cursors import Cursor, row_id
from edge_agent.telemetry.settlement import Tell, declare, delete
from edge_protocol import ranges
from edge_protocol.codes import Stream

TRIM_ROWS = 500
"""Rows of one slice of housekeeping: below a millisecond, and the commit with it."""


def shed(connection: Connection, rows: int, tell: Tell) -> int:
    """Delete at least `rows` rows if there are as many; how many of them had not reached the hub."""
    rows -= trim(connection, rows)
    lost = 0
    for cursor in sorted(cursors.load_all(connection), key=lambda cursor: -cursors.rank(cursor.stream)):
        for first, last in cursor.held:
            if rows <= lost:
                return lost
            end = min(last, first + rows - lost - 1)
            delete(connection, cursor, first, end)
            cursor = declare(connection, cursor, ((first, end),), "quota", tell)  # noqa: PLW2901 (it goes on with it)
            lost += end - first + 1
    return lost


def trim(connection: Connection, rows: int, *, keep_rows: int = 0, before_us: int | None = None) -> int:
    """Delete up to `rows` of the oldest verdicts that the hub has; how many.

    `keep_rows` of them stay, unless they are from before `before_us`.
    """
    histories = [cursor for cursor in cursors.load_all(connection) if cursor.stream == Stream.VERDICTS]
    surplus = sum(_end(cursor) - cursor.trimmed for cursor in histories) - keep_rows
    done = 0
    for cursor in histories:
        while done < rows and cursor.trimmed < _end(cursor):
            if done >= surplus and not _is_before(connection, cursor, before_us):
                break
            end = min(_end(cursor), cursor.trimmed + min(rows - done, TRIM_ROWS))
            if done < surplus:
                end = min(end, cursor.trimmed + surplus - done)
            delete(connection, cursor, cursor.trimmed + 1, end)
            done += end - cursor.trimmed
            cursor = replace(cursor, trimmed=end)  # noqa: PLW2901 (it goes on with it)
            cursors.save(connection, cursor)
    return done


def _end(cursor: Cursor) -> int:
    """The last number of which nothing before is still on its way."""
    return ranges.prefix(cursor.resolved)


def _is_before(connection: Connection, cursor: Cursor, before_us: int | None) -> bool:
    if before_us is None:
        return False
    # The last of a slice decides: it is the youngest.
    end = min(_end(cursor), cursor.trimmed + TRIM_ROWS)
    sql = "SELECT at_us FROM verdicts WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1"
    found = fetch(connection, sql, (row_id(cursor.epoch, cursor.trimmed + 1), row_id(cursor.epoch, end)))
    return not found or found[0][0] < before_us
