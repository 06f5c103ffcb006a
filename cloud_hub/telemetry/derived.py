"""What is made of archived rows in the same transaction: gaps that declare, panes that drift is judged by, totals."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec
from sqlalchemy import Connection

from cloud_hub.storage.database import insert, insert_rows
from cloud_hub.storage.schema import gaps, panes, verdict_totals
from cloud_hub.telemetry.rows import RowTuple
from cloud_hub.telemetry.verify import BatchArrival, Reading
from edge_protocol.codes import Stream
from edge_protocol.messages import Gap, Pane

Totals: TypeAlias = Counter[tuple[str, str, int, int]]
"""Verdicts by tenant, gateway, context and kind."""

_COUNT_MAX = 2**53


def gaps_in(arrival: BatchArrival) -> Iterator[Gap]:
    """The gaps that a batch declares and that can be true."""
    return (reading for reading in arrival.readings if isinstance(reading, Gap) and _is_sound(reading))


def derive(connection: Connection, arrival: BatchArrival, new: Sequence[RowTuple]) -> list[Gap]:
    """Keep the gaps and panes among new records in tables of their own as well; answers with the gaps."""
    if arrival.batch.stream == Stream.VERDICTS:
        return []
    first = arrival.batch.records[0].seq
    read = [(row[0], row[1], arrival.readings[row[0] - first]) for row in new]
    _write_panes(connection, arrival, read)
    return _write_gaps(connection, arrival, read)


def count(arrival: BatchArrival, new: Sequence[RowTuple]) -> Totals:
    """What new rows add to the totals."""
    if arrival.batch.stream != Stream.VERDICTS:
        return Counter()
    return Counter((arrival.tenant, arrival.batch.gateway, row[1], row[4]) for row in new)


def add_totals(connection: Connection, totals: Mapping[tuple[str, str, int, int], int]) -> None:
    """Add to the totals in the database."""
    for (tenant, gateway, context_id, verdict), n in totals.items():
        row = {"tenant": tenant, "gateway": gateway, "context_id": context_id, "verdict": verdict, "n": n}
        statement = insert(connection, verdict_totals).values(**row)
        key = [verdict_totals.c.gateway, verdict_totals.c.context_id, verdict_totals.c.verdict]
        more = {"n": verdict_totals.c.n + statement.excluded.n}
        connection.execute(statement.on_conflict_do_update(index_elements=key, set_=more))


def _write_panes(connection: Connection, arrival: BatchArrival, read: Sequence[tuple[int, int, Reading]]) -> None:
    batch = arrival.batch
    rows = [
        (
            batch.gateway, batch.epoch, batch.stream, seq, arrival.tenant, pane.pipeline, pane.bundle, pane.reference,
            pane.opened_us, pane.closed_us, pane.n, msgspec.msgpack.encode(pane.counts),
        )
        for seq, _, pane in read
        if isinstance(pane, Pane) and _is_countable(pane)
    ]  # fmt: skip
    names = ("gateway", "epoch", "stream", "seq", "tenant", "pipeline", "bundle", "reference", "opened_us", "closed_us",
             "n", "counts")  # fmt: skip
    insert_rows(connection, panes, names, rows)


def _write_gaps(connection: Connection, arrival: BatchArrival, read: Sequence[tuple[int, int, Reading]]) -> list[Gap]:
    batch = arrival.batch
    found = [(seq, at_us, gap) for seq, at_us, gap in read if isinstance(gap, Gap) and _is_sound(gap)]
    rows = [
        (
            batch.gateway, batch.epoch, batch.stream, seq, arrival.tenant, at_us,
            gap.epoch, gap.stream, gap.first, gap.last, gap.reason,
        )
        for seq, at_us, gap in found
    ]  # fmt: skip
    names = ("gateway", "epoch", "stream", "seq", "tenant", "at_us", "gap_epoch", "gap_stream", "first", "last",
             "reason")  # fmt: skip
    insert_rows(connection, gaps, names, rows)
    return [gap for _, _, gap in found]


def _is_sound(gap: Gap) -> bool:
    return 0 < gap.first <= gap.last < _COUNT_MAX and 0 <= gap.epoch < _COUNT_MAX


def _is_countable(pane: Pane) -> bool:
    numbers = (pane.n, pane.opened_us, pane.closed_us, *(n for counts in pane.counts.values() for n in counts))
    return all(0 <= number < _COUNT_MAX for number in numbers)
