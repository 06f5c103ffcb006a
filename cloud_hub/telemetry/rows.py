"""The two shapes of archived rows behind one face: typed verdicts, and records kept as they came.

A shape makes tuples of a batch, says which of them contradict what is archived, and writes those that are new.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from sqlalchemy import Connection, select, tuple_

from cloud_hub.storage.database import RowTuple, insert_rows
from cloud_hub.storage.schema import contexts, records, verdicts
from cloud_hub.telemetry.verify import BatchArrival, Reading
from edge_protocol import ranges
from edge_protocol.batch import Batch, Context
from edge_protocol.codes import Stream
from edge_protocol.messages import KINDS, Unknown
from edge_protocol.ranges import Ranges

Numbered: TypeAlias = tuple[BatchArrival, int, Sequence[RowTuple]]
"""New rows of a batch and the batch's number. A row is a tuple that begins with its sequence number."""

ContextIds: TypeAlias = Mapping[tuple[str, Context], int]
"""The number of a context of a gateway."""

MALFORMED = "malformed"
_TAGS = {record: str(tag) for tag, record in KINDS.items()}


class Shape:
    """What the archive asks of a kind of row. The first `identity` columns make a row what it is."""

    identity: int

    def rows(self, arrival: BatchArrival, contexts: ContextIds) -> list[RowTuple]:
        """All rows of a batch."""
        raise NotImplementedError

    def there(self, connection: Connection, batch: Batch, span: tuple[int, int]) -> dict[int, RowTuple]:
        """The first `identity` columns of the archived rows with these numbers."""
        raise NotImplementedError

    def write(self, connection: Connection, numbered: Iterable[Numbered]) -> None:
        """Write rows, each with its batch's number."""
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

    def rows(self, arrival: BatchArrival, contexts: ContextIds) -> list[RowTuple]:
        """All rows of a batch."""
        ids = [contexts[arrival.batch.gateway, context] for context in arrival.batch.contexts]
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

    def write(self, connection: Connection, numbered: Iterable[Numbered]) -> None:
        """Write rows, each with its batch's number."""
        rows: list[RowTuple] = []
        for arrival, batch_id, new in numbered:
            where = (arrival.batch.gateway, arrival.batch.epoch, arrival.tenant, batch_id)
            rows += [row + where for row in new]
        insert_rows(connection, verdicts, self._columns, rows)


class Records(Shape):
    """Rows of every other stream, also of streams that are not known here.

    The kind is what this version reads in the body; a later one may read more, and the row is still the same.
    """

    _own = ("seq", "at_us", "body", "kind")
    identity = 3
    _columns = (*_own, "gateway", "epoch", "stream", "tenant", "batch_id")

    def rows(self, arrival: BatchArrival, _contexts: ContextIds) -> list[RowTuple]:
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

    def write(self, connection: Connection, numbered: Iterable[Numbered]) -> None:
        """Write rows, each with its batch's number."""
        rows: list[RowTuple] = []
        for arrival, batch_id, new in numbered:
            batch = arrival.batch
            where = (batch.gateway, batch.epoch, batch.stream, arrival.tenant, batch_id)
            rows += [row + where for row in new]
        insert_rows(connection, records, self._columns, rows)


SHAPES: tuple[Shape, Shape] = (Verdicts(), Records())


def of_stream(stream: str) -> Shape:
    """The shape of a stream's rows."""
    return SHAPES[stream != Stream.VERDICTS]


def between(rows: Sequence[RowTuple], wanted: Ranges) -> list[RowTuple]:
    """Those of consecutive rows whose numbers are wanted."""
    first = rows[0][0]
    return [row for low, high in wanted for row in rows[low - first : high - first + 1]]


def kind_of(reading: Reading) -> str:
    """What kind of record this is: a kind not known here by its own name, bytes that are no record as `malformed`."""
    if reading is None:
        return MALFORMED
    return reading.kind[:80] if isinstance(reading, Unknown) else _TAGS[type(reading)]


_CONTEXT = ("pipeline", "bundle", "version", "digest", "variant", "operating_point")


def intern(connection: Connection, arrivals: Iterable[BatchArrival]) -> ContextIds:
    """The numbers of all contexts of some batches; those not seen before are written."""
    tenants = {(each.batch.gateway, context): each.tenant for each in arrivals for context in each.batch.contexts}
    if not tenants:
        return {}
    found = _ids(connection, tenants)
    if missing := [key for key in tenants if key not in found]:
        rows = [(tenants[key], key[0], *_texts(key[1])) for key in missing]
        insert_rows(connection, contexts, ("tenant", "gateway", *_CONTEXT), rows, past_known=True)
        found = _ids(connection, tenants)
    return found


def _ids(connection: Connection, wanted: Iterable[tuple[str, Context]]) -> ContextIds:
    texts = {(gateway, *_texts(context)): (gateway, context) for gateway, context in wanted}
    columns = [contexts.c[name] for name in ("gateway", *_CONTEXT)]
    pairs = {(text[0], text[1]) for text in texts}
    query = select(contexts.c.id, *columns).where(tuple_(columns[0], columns[1]).in_(sorted(pairs)))
    return {texts[key]: row[0] for row in connection.execute(query) if (key := tuple(row[1:])) in texts}


def _texts(context: Context) -> tuple[str, ...]:
    values = (getattr(context, name) for name in _CONTEXT)
    return tuple(value.hex() if isinstance(value, bytes) else value for value in values)
