"""Rows of the outbox: judgements and records come in, tuples for the database go out, and from them batches again.

The same rows make the same batch, byte for byte, whenever it is made. Never touches the database.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

from edge_agent.judgement import Judgement
from edge_agent.sample import Trigger
from edge_agent.telemetry.cursors import Cursor
from edge_protocol import messages
from edge_protocol.batch import Batch, Context, RecordRow, VerdictRow
from edge_protocol.codes import Stream
from edge_protocol.messages import AnyRecord, Fault, Time

MAX_RECORD_BYTES = 64 * 1024
MAX_BATCH_BYTES = 160 * 1024
"""Of rows before compression: with envelope and header it stays far below `MAX_MESSAGE_BYTES`."""

MAX_CONTEXTS = 255
"""A verdict points to its context with one byte."""

VERDICT_BYTES = 48
"""What a verdict takes before compression, without its texts."""

TEXT_CHARS = 96

Row: TypeAlias = tuple[Any, ...]

_MASK = 2**32 - 1
_VERDICT_COLUMNS = "id, at_us, run, trigger, context, verdict, reason, score, latency_us, part, product, lot"
INSERT_VERDICT = f"INSERT INTO verdicts ({_VERDICT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 (our own names)

_STREAMS = frozenset(Stream)


TRIGGER = itemgetter(3)
COUNTED = itemgetter(4, 5)
_SCORE = itemgetter(7)
_TEXTS = tuple(map(itemgetter, (9, 10, 11)))


class Runs(NamedTuple):
    """Which run gave a trigger its time: the current one when wall less monotonic lies between, or `of` knows."""

    current: int
    low_us: int
    high_us: int
    of: Callable[[Trigger], int]


def table_of(stream: str) -> str:
    """The table that holds a stream's rows.

    Raises:
        ValueError: no such stream: its name must never reach SQL.
    """
    if stream not in _STREAMS:
        message = f"no stream {stream[:40]!r}"
        raise ValueError(message)
    return stream


def insert_record(stream: str) -> str:
    """The statement that writes a record of a stream."""
    return f"INSERT INTO {table_of(stream)} (id, at_us, run, body) VALUES (?, ?, ?, ?)"  # noqa: S608


def select_rows(stream: str) -> str:
    """The statement that reads the rows between two ids."""
    columns = _VERDICT_COLUMNS if stream == Stream.VERDICTS else "id, at_us, run, body"
    return f"SELECT {columns} FROM {table_of(stream)} WHERE id BETWEEN ? AND ? ORDER BY id"  # noqa: S608


def select_oldest(stream: str) -> str:
    """The statement that reads the time of the first row between two ids."""
    return f"SELECT at_us FROM {table_of(stream)} WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1"  # noqa: S608


def verdict_rows(judgements: Sequence[Judgement], first_id: int, contexts: Mapping[int, int], runs: Runs) -> list[Row]:
    """Judgements as rows of the database. `contexts` are numbers by the identity of the object.

    Raises:
        KeyError: a context is not among them.
    """
    current, low_us, high_us, run_of = runs
    rows = [
        (
            i, (t := j.trigger).at_us, current if low_us < t.at_us - t.mono_us < high_us else run_of(t), t.n,
            contexts[id(j.context)], j.verdict._value_, j.reason._value_, j.score, j.latency_us,
            t.part, t.product, t.lot,
        )
        for i, j in zip(count(first_id), judgements)
    ]  # fmt: skip
    # Looked at by column, because the rare case must cost nothing: a numpy score or an endless text in one row would
    # keep the whole batch out of the database, or out of every message, for ever.
    if not set(map(type, map(_SCORE, rows))) <= {float, type(None)} or any(
        max(map(len, map(text, rows))) > TEXT_CHARS for text in _TEXTS
    ):
        return [_plain(row) for row in rows]
    return rows


def encode_record(stream: Stream, record: AnyRecord) -> tuple[Stream, bytes]:
    """Where a record goes, and its bytes; one that fits no message becomes an event that says so."""
    body = messages.encode(record)
    if len(body) <= MAX_RECORD_BYTES:
        return stream, body
    detail = f"{type(record).__name__} of {len(body)} bytes, at most {MAX_RECORD_BYTES} are taken"
    fault = Fault(part="record", name=stream, reason="too-large", active=True, detail=detail)
    return Stream.EVENTS, messages.encode(fault)


def fit(rows: Iterable[Row]) -> list[Row]:
    """As many of the rows as one batch takes: consecutive, of one run of the clock, within its size."""
    taken: list[Row] = []
    contexts: set[int] = set()
    room = MAX_BATCH_BYTES
    for row in rows:
        room -= _weight(row)
        if len(row) > 4:
            contexts.add(row[4])
        if taken and (row[0] != taken[-1][0] + 1 or row[2] != taken[0][2] or room < 0 or len(contexts) > MAX_CONTEXTS):
            break
        taken.append(row)
    return taken


def make_batch(
    gateway: str, cursor: Cursor, rows: Sequence[Row], run: tuple[Time, bytes], context_of: Callable[[int], Context]
) -> Batch:
    """The batch of rows that fit one."""
    time, config = run
    head: dict[str, Any] = {
        "gateway": gateway,
        "epoch": cursor.epoch,
        "stream": cursor.stream,
        "time": time,
        "config": config,
    }
    if cursor.stream != Stream.VERDICTS:
        records = tuple(RecordRow(row[0] & _MASK, row[1], row[3]) for row in rows)
        return Batch(**head, records=records)
    index = {number: i for i, number in enumerate(dict.fromkeys(row[4] for row in rows))}
    verdicts = tuple(
        VerdictRow(row[0] & _MASK, row[1], row[3], index[row[4]], *row[5:])
        for row in rows
    )  # fmt: skip
    return Batch(**head, contexts=tuple(map(context_of, index)), verdicts=verdicts)


def _weight(row: Row) -> int:
    return len(row[3]) if len(row) == 4 else VERDICT_BYTES + sum(map(len, row[9:]))


def _plain(row: Row) -> Row:
    score = None if row[7] is None else float(row[7])
    return (*row[:7], score, row[8], *(text[:TEXT_CHARS] for text in row[9:]))
