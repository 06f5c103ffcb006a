"""The account of a gateway: produced = archived + buffered + declared, by exact set arithmetic over identities.

`produced` and `held` are what the gateway signed last, the rest is what lies here. Reads only, changes nothing.
"""

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, func, select

from cloud_hub.storage.schema import contexts, cursors, gateways, records, states, verdicts
from edge_protocol import messages, ranges
from edge_protocol.codes import Stream
from edge_protocol.errors import DecodeError
from edge_protocol.messages import GatewayState, StreamAccount
from edge_protocol.ranges import EMPTY, Ranges


class StreamLine(msgspec.Struct, frozen=True):
    """The account of one stream of one epoch. `have`: the archived numbers, also those the gateway has not told of yet.

    `overlap` of them were declared as lost and came nevertheless; they count as archived.
    """

    epoch: int
    stream: str
    produced: int
    archived: int
    buffered: int
    declared: int
    lost: int
    overlap: int
    have: Ranges = EMPTY


class Account(msgspec.Struct, frozen=True):
    """The account of one gateway as of its last signed state.

    `balanced`: nothing is lost and, where rows were counted (`deep`), as many are here as the cursors say and no
    verdict is doubled. `resent` rows came again and changed nothing. `doubled_verdicts` is None without counting.
    """

    gateway: str
    produced: int
    archived: int
    buffered: int
    declared: int
    lost: int
    balanced: bool
    resent: int
    doubled_verdicts: int | None
    streams: tuple[StreamLine, ...]
    as_of_us: int


class Cursor(msgspec.Struct, frozen=True):
    """What the hub has of one stream of one epoch."""

    archived: Ranges = EMPTY
    declared: Ranges = EMPTY
    resent: int = 0

    @property
    def committed(self) -> Ranges:
        """What a receipt may say: nothing of this need be sent again."""
        return ranges.union(self.archived, self.declared)


def account(connection: Connection, gateway: str, *, deep: bool = True) -> Account:
    """The account of `gateway`. `deep` counts every row; without it the cursors written with the rows are taken."""
    state, as_of_us = last_state(connection, gateway)
    told = {(line.epoch, line.stream): line for line in state.streams} if state is not None else {}
    known = cursors_of(connection, gateway)
    rows = _count_rows(connection, gateway) if deep else None
    lines = tuple(
        stream_line(*key, told.get(key), known.get(key, Cursor())) for key in sorted(told.keys() | known.keys())
    )
    doubled = _doubled(connection, gateway) if deep else None
    here = {key: n for key, cursor in known.items() if (n := ranges.count(cursor.archived))}
    lost = sum(line.lost for line in lines)
    return Account(
        gateway=gateway,
        produced=sum(line.produced for line in lines),
        archived=sum(line.archived for line in lines),
        buffered=sum(line.buffered for line in lines),
        declared=sum(line.declared for line in lines),
        lost=lost,
        balanced=lost == 0 and not doubled and rows in (None, here),
        resent=sum(cursor.resent for cursor in known.values()),
        doubled_verdicts=doubled,
        streams=lines,
        as_of_us=as_of_us,
    )


def accounts(connection: Connection, *, deep: bool = True) -> list[Account]:
    """The accounts of all gateways, by name."""
    names = connection.execute(select(gateways.c.id).order_by(gateways.c.id)).scalars()
    return [account(connection, name, deep=deep) for name in names.all()]


def stream_line(epoch: int, stream: str, told: StreamAccount | None, cursor: Cursor) -> StreamLine:
    """One line of the account. Pure.

    Rows that arrived after the gateway spoke count only as far as they follow on without a hole: what lies in such
    a hole is on its way, and the next state will say so. A stream it does not speak of has no such excuse.
    """
    committed = cursor.committed
    if told is not None:
        produced = ranges.prefix(committed, told.produced + 1)
        held, declared = told.held, ranges.union(cursor.declared, told.declared)
    else:
        produced = max((last for _, last in committed), default=0)
        held, declared = EMPTY, cursor.declared
    made: Ranges = ((1, produced),) if produced else EMPTY
    archived = ranges.intersect(cursor.archived, made)
    given_up = ranges.subtract(ranges.intersect(declared, made), archived)
    buffered = ranges.subtract(ranges.subtract(ranges.intersect(held, made), archived), given_up)
    here, there, never = (ranges.count(part) for part in (archived, buffered, given_up))
    overlap = ranges.count(ranges.intersect(declared, archived))
    return StreamLine(
        epoch, stream, produced, here, there, never, produced - here - there - never, overlap, cursor.archived
    )


def last_state(connection: Connection, gateway: str) -> tuple[GatewayState | None, int]:
    """The last signed state of `gateway`, and when it was sent."""
    row = connection.execute(select(states.c.body).where(states.c.gateway == gateway)).one_or_none()
    if row is None:
        return None, 0
    try:
        state = messages.decode(GatewayState, row.body)
    except DecodeError:  # written by a later version of the hub, which this one cannot read
        return None, 0
    return state, state.sent_us


def cursors_of(connection: Connection, gateway: str) -> dict[tuple[int, str], Cursor]:
    """What is here of `gateway`, by (epoch, stream)."""
    rows = connection.execute(select(cursors).where(cursors.c.gateway == gateway)).all()
    return {(row.epoch, row.stream): Cursor(unpack(row.archived), unpack(row.declared), row.resent) for row in rows}


def pack(value: Ranges) -> bytes:
    """Ranges as they lie in a cursor's column."""
    return msgspec.msgpack.encode(value)


def unpack(raw: bytes) -> Ranges:
    """The inverse of `pack`."""
    return msgspec.msgpack.decode(raw, type=Ranges)


def _count_rows(connection: Connection, gateway: str) -> dict[tuple[int, str], int]:
    of_verdicts = select(verdicts.c.epoch, func.count()).where(verdicts.c.gateway == gateway).group_by(verdicts.c.epoch)
    of_records = (
        select(records.c.epoch, records.c.stream, func.count())
        .where(records.c.gateway == gateway)
        .group_by(records.c.epoch, records.c.stream)
    )
    counted = {(epoch, str(Stream.VERDICTS)): n for epoch, n in connection.execute(of_verdicts)}
    return counted | {(epoch, stream): n for epoch, stream, n in connection.execute(of_records)}


def _doubled(connection: Connection, gateway: str) -> int:
    """Verdicts beyond the first of one trigger and pipeline: in one epoch, or at one time in any."""
    mine = select(verdicts.c.epoch, verdicts.c.trigger, verdicts.c.at_us, contexts.c.pipeline).join(
        contexts, contexts.c.id == verdicts.c.context_id
    )
    rows = mine.where(verdicts.c.gateway == gateway).subquery()
    total = connection.execute(select(func.count()).select_from(rows)).scalar_one()
    keys = ((rows.c.epoch, rows.c.pipeline, rows.c.trigger), (rows.c.at_us, rows.c.pipeline, rows.c.trigger))
    return max(total - _distinct(connection, key) for key in keys)


def _distinct(connection: Connection, key: tuple[ColumnElement[Any], ...]) -> int:
    return connection.execute(select(func.count()).select_from(select(*key).distinct().subquery())).scalar_one()
