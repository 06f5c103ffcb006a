"""What is made of archived rows in the same transaction: gaps that declare, panes that drift is judged by, totals."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeAlias, TypeGuard

import msgspec
from sqlalchemy import Connection

from cloud_hub.storage.database import RowTuple, insert_rows, put
from cloud_hub.storage.schema import gaps, panes, verdict_totals
from cloud_hub.telemetry.rows import Numbered
from cloud_hub.telemetry.verify import BatchArrival, Reading
from edge_protocol.codes import Stream
from edge_protocol.messages import Gap, Pane

Totals: TypeAlias = Counter[tuple[str, str, int, int]]
"""Verdicts by tenant, gateway, context and kind."""


def gaps_in(arrival: BatchArrival) -> dict[int, Gap]:
    """The gaps that a batch declares and that can be true, by the number of their record."""
    pairs = zip(arrival.batch.records, arrival.readings, strict=True)
    return {row.seq: reading for row, reading in pairs if _is_sound(reading)}


def write(connection: Connection, numbered: Iterable[Numbered]) -> None:
    """Keep the gaps and panes among new records in tables of their own as well."""
    read = [
        (arrival, batch_id, row, arrival.readings[row[0] - arrival.batch.records[0].seq])
        for arrival, batch_id, rows in numbered
        if arrival.batch.stream != Stream.VERDICTS
        for row in rows
    ]
    insert_rows(connection, panes, _PANE, [_pane(*each) for each in read if isinstance(each[3], Pane)])
    insert_rows(connection, gaps, _GAP, [_gap(*each) for each in read if _is_sound(each[3])])


def count(arrival: BatchArrival, new: Sequence[RowTuple]) -> Totals:
    """What new rows add to the totals."""
    if arrival.batch.stream != Stream.VERDICTS:
        return Counter()
    return Counter((arrival.tenant, arrival.batch.gateway, row[1], row[4]) for row in new)


def add_totals(connection: Connection, totals: Totals) -> None:
    """Add to the totals in the database."""
    names = ("tenant", "gateway", "context_id", "verdict")
    put(
        connection,
        verdict_totals,
        *({**dict(zip(names, key, strict=True)), "n": n} for key, n in totals.items()),
        add="n",
    )


_KEY = ("gateway", "epoch", "stream", "seq", "tenant")
_PANE = (*_KEY, "batch_id", "pipeline", "bundle", "reference", "opened_us", "closed_us", "n", "counts")
_GAP = (*_KEY, "at_us", "gap_epoch", "gap_stream", "first", "last", "reason")


def _key(arrival: BatchArrival, row: RowTuple) -> RowTuple:
    batch = arrival.batch
    return (batch.gateway, batch.epoch, batch.stream, row[0], arrival.tenant)


def _pane(arrival: BatchArrival, batch_id: int, row: RowTuple, pane: Pane) -> RowTuple:
    counts = msgspec.msgpack.encode(pane.counts)
    named = (batch_id, pane.pipeline, pane.bundle, pane.reference)
    return (*_key(arrival, row), *named, pane.opened_us, pane.closed_us, pane.n, counts)


def _gap(arrival: BatchArrival, _batch_id: int, row: RowTuple, gap: Gap) -> RowTuple:
    return (*_key(arrival, row), row[1], gap.epoch, gap.stream, gap.first, gap.last, gap.reason)


def _is_sound(reading: Reading) -> TypeGuard[Gap]:
    return isinstance(reading, Gap) and 0 < reading.first <= reading.last
