"""What the hub's online key has signed is signed anew long before it expires; the rows say what is due.

Timestamps daily, the others at half their time: a hub that was away for days still finds gateways that accept it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, or_, select

from cloud_hub.storage.schema import trust_files
from cloud_hub.updates import director, repository
from cloud_hub.updates.repository import DAY_US, ONLINE_DAYS, Repository
from cloud_hub.updates.signing import SNAPSHOT, TARGETS, TIMESTAMP
from edge_protocol import metadata
from edge_protocol.envelope import PrivateKey

MAX_AT_ONCE = 50
"""Repositories in one transaction: others want to write too."""

LEFT_DAYS = {
    TIMESTAMP: ONLINE_DAYS[TIMESTAMP] - 1,
    SNAPSHOT: ONLINE_DAYS[SNAPSHOT] // 2,
    TARGETS: ONLINE_DAYS[TARGETS] // 2,
}
"""With so many days left a role that the online key signs is due."""


class Due(NamedTuple):
    """Metadata that should be signed anew."""

    repository: Repository
    role: str


def due(connection: Connection, now_us: int) -> list[Due]:
    """What should be signed anew now, what expires first before the others."""
    column = trust_files.c
    soon = [
        (column.role == role) & (column.expires_us < now_us + days * DAY_US) & _signed_here(role)
        for role, days in LEFT_DAYS.items()
    ]
    query = select(column.repository, column.gateway, column.role).where(or_(*soon))
    rows = connection.execute(query.order_by(column.expires_us).limit(MAX_AT_ONCE))
    return [Due(Repository(name, gateway), role) for name, gateway, role in rows]


def renew(connection: Connection, signer: PrivateKey, what: Sequence[Due], now_us: int) -> None:
    """Sign these anew, each with what is signed above it."""
    repository.lock(connection)
    roles: dict[Repository, set[str]] = {}
    for each in what:
        roles.setdefault(each.repository, set()).add(each.role)
    for where, expiring in roles.items():
        if TARGETS in expiring:
            director.sign(connection, signer, where.gateway, now_us)
        elif SNAPSHOT in expiring:
            repository.seal(connection, where, signer, now_us)
        else:
            repository.stamp_time(connection, where, signer, now_us)


def _signed_here(role: str) -> ColumnElement[bool]:
    """The `targets` of the publishers are signed by a key that is not here."""
    return trust_files.c.repository == metadata.DIRECTOR if role == TARGETS else trust_files.c.role == role
