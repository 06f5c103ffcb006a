"""The audit chain: who changed what and why, each row bound to the one before by its hash.

`append` belongs in the transaction of the change itself. A row that is altered or removed breaks the chain behind it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, insert, select, text

from cloud_hub.storage.schema import audit

_START = bytes(32)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, why, and for which tenant."""

    name: str
    reason: str
    tenant: str = "default"


@dataclass(frozen=True, slots=True)
class Entry:
    """One change: the verb, what it was done to, and what else should be known of it later."""

    action: str
    subject: str
    gateway: str = ""
    detail: Mapping[str, str] = field(default_factory=dict)


def append(connection: Connection, actor: Actor, entry: Entry, at_us: int) -> None:
    """Write one entry at the end of the chain."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE audit IN SHARE ROW EXCLUSIVE MODE"))
    last = connection.execute(select(audit.c.hash).order_by(audit.c.id.desc()).limit(1)).scalar_one_or_none()
    values: dict[str, Any] = {
        "tenant": actor.tenant,
        "gateway": entry.gateway,
        "at_us": at_us,
        "actor": actor.name,
        "action": entry.action,
        "subject": entry.subject,
        "reason": actor.reason,
        "detail": dict(sorted(entry.detail.items())),
    }
    previous = last or _START
    connection.execute(insert(audit).values(**values, previous=previous, hash=_hash(previous, values)))


def broken_at(connection: Connection) -> int | None:
    """The id of the first row that does not follow from the one before; None for a whole chain."""
    previous = _START
    for row in connection.execute(select(audit).order_by(audit.c.id)):
        if row.previous != previous or row.hash != _hash(previous, _values(row)):
            return int(row.id)
        previous = row.hash
    return None


def _values(row: Row[Any]) -> dict[str, Any]:
    names = ("tenant", "gateway", "at_us", "actor", "action", "subject", "reason", "detail")
    values = {name: getattr(row, name) for name in names}
    return values | {"detail": dict(sorted(row.detail.items()))}


def _hash(previous: bytes, values: dict[str, Any]) -> bytes:
    return hashlib.sha256(previous + msgspec.msgpack.encode(values)).digest()
