"""The two shapes of archived rows behind one face: typed verdicts, and records kept as they came.

A shape makes tuples of a batch, says which of them contradict what is archived, and writes those that are new.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Connection, select

from cloud_hub.storage.database import insert_rows
from cloud_hub.storage.schema import contexts, records, verdicts
from cloud_hub.telemetry.verify import BatchArrival, Reading
from edge_protocol import ranges
from edge_protocol.batch import Batch, Context
from edge_protocol.codes import Stream
from edge_protocol.messages import KINDS, Unknown
from edge_protocol.ranges import Ranges

RowTuple: TypeAlias = tuple[Any, ...]
"""A row by column, the sequence number first."""

MALFORMED = "malformed"
_TAGS = {record: str(tag) for tag, record in KINDS.items()}


class Shape:
    """What the archive asks of a kind of row. The first `identity` columns make a row what it is."""

    identity: int

    def rows(self, connection: Connection, arrival: BatchArrival) -> list[RowTuple]:
        """All rows of a batch."""
        raise NotImplementedError

    def there(self, connection: Connection, batch: Batch, span: tuple[int, int]) -> dict[int, RowTuple]:
        """The first `identity` columns of the archived rows with these numbers."""
        raise NotImplementedError

    def write(self, connection: Connection, arrival: BatchArrival, batch_id: int, rows: Sequence[RowTuple]) -> int:
        """Write rows and say how many were written."""
        raise NotImplementedError

    def conflicts(self, connection: Connection, batch: Batch, rows: Sequence[RowTuple], seen: Ranges) -> Ranges:
        """The numbers among `seen`, which are archived, whose rows here are other ones."""
        there: dict[int, RowTuple] = {}
        for span in seen:
            there |= self.there(connection, batch, span)
        return ranges.from_numbers(row[0] for row in between(rows, seen) if there.get(row[0]) != row[: self.identity])


class Verdicts(Shape):
    """Rows of the verdict stream."""

    _own = (
        "seq", "context_id", "at_us", "trigger", "verdict", "reason", "score", "latency_us", "part", "product", "lot",
    )  # fmt: skip
    identity = len(_own)
    _columns = (*_own, "gateway", "epoch", "tenant", "batch_id")

    def rows(self, connection: Connection, arrival: BatchArrival) -> list[RowTuple]:
        """All rows of a batch, their contexts interned."""
        ids = intern(connection, arrival)
        return [
            (
                row.seq, ids[row.context], row.at_us, row.trigger, row.verdict, row.reason, row.score, row.latency_us,
                row.part or None, row.product or None, row.lot or None,
            )
            for row in arrival.batch.verdicts
        ]  # fmt: skip

    def there(self, connection: Connection, batch: Batch, span: tuple[int, int]) -> dict[int, RowTuple]:
        """The first `identity` columns of the archived rows with these numbers."""
        columns = [verdicts.c[name] for name in self._own]
        query = select(*columns).where(verdicts.c.gateway == batch.gateway, verdicts.c.epoch == batch.epoch)
        return {row[0]: tuple(row) for row in connection.execute(query.where(verdicts.c.seq.between(*span)))}

    def write(self, connection: Connection, arrival: BatchArrival, batch_id: int, rows: Sequence[RowTuple]) -> int:
        """Write rows and say how many were written."""
        batch = arrival.batch
        where = (batch.gateway, batch.epoch, arrival.tenant, batch_id)
        return insert_rows(connection, verdicts, self._columns, [row + where for row in rows])


class Records(Shape):
    """Rows of every other stream, also of streams that are not known here.

    The kind is what this version reads in the body; a later one may read more, and the row is still the same.
    """

    _own = ("seq", "at_us", "body", "kind")
    identity = 3
    _columns = (*_own, "gateway", "epoch", "stream", "tenant", "batch_id")

    def rows(self, _connection: Connection, arrival: BatchArrival) -> list[RowTuple]:
        """All rows of a batch."""
        pairs = zip(arrival.batch.records, arrival.readings, strict=True)
        return [(row.seq, row.at_us, row.body, kind_of(reading)) for row, reading in pairs]

    def there(self, connection: Connection, batch: Batch, span: tuple[int, int]) -> dict[int, RowTuple]:
        """The first `identity` columns of the archived rows with these numbers."""
        columns = [records.c[name] for name in self._own[: self.identity]]
        query = select(*columns).where(
            records.c.gateway == batch.gateway, records.c.epoch == batch.epoch, records.c.stream == batch.stream
        )
        return {row[0]: tuple(row) for row in connection.execute(query.where(records.c.seq.between(*span)))}

    def write(self, connection: Connection, arrival: BatchArrival, batch_id: int, rows: Sequence[RowTuple]) -> int:
        """Write rows and say how many were written."""
        batch = arrival.batch
        where = (batch.gateway, batch.epoch, batch.stream, arrival.tenant, batch_id)
        return insert_rows(connection, records, self._columns, [row + where for row in rows])


_SHAPES: dict[str, Shape] = {Stream.VERDICTS: Verdicts()}
_RECORDS = Records()


def of_stream(stream: str) -> Shape:
    """The shape of a stream's rows."""
    return _SHAPES.get(stream, _RECORDS)


def between(rows: Sequence[RowTuple], wanted: Ranges) -> list[RowTuple]:
    """Those of consecutive rows whose numbers are wanted."""
    first = rows[0][0]
    return [row for low, high in wanted for row in rows[low - first : high - first + 1]]


def kind_of(reading: Reading) -> str:
    """What kind of record this is: a kind not known here by its own name, bytes that are no record as `malformed`."""
    if reading is None:
        return MALFORMED
    return reading.kind[:80] if isinstance(reading, Unknown) else _TAGS[type(reading)]


def intern(connection: Connection, arrival: BatchArrival) -> list[int]:
    """The numbers of a batch's contexts; those not seen before are written."""
    wanted = [_context_key(context) for context in arrival.batch.contexts]
    found = _contexts_of(connection, arrival.batch.gateway, wanted)
    if missing := [key for key in dict.fromkeys(wanted) if key not in found]:
        names = ("tenant", "gateway", *_CONTEXT)
        where = (arrival.tenant, arrival.batch.gateway)
        insert_rows(connection, contexts, names, [where + key for key in missing])
        found = _contexts_of(connection, arrival.batch.gateway, wanted)
    return [found[key] for key in wanted]


_CONTEXT = ("pipeline", "bundle", "version", "digest", "variant", "operating_point")


def _context_key(context: Context) -> tuple[str, ...]:
    values = (getattr(context, name) for name in _CONTEXT)
    return tuple(value.hex() if isinstance(value, bytes) else value for value in values)


def _contexts_of(connection: Connection, gateway: str, keys: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], int]:
    query = select(contexts.c.id, *(contexts.c[name] for name in _CONTEXT)).where(
        contexts.c.gateway == gateway, contexts.c.pipeline.in_({key[0] for key in keys})
    )
    return {tuple(row[1:]): row[0] for row in connection.execute(query)}
