"""What may soon be accepted no more: metadata with its dates and `now` come in, warnings with their cures go out.

It signs nothing: what only offline keys or a publisher can renew has to be told in time.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, select

from cloud_hub.storage.schema import publishers, trust_files
from cloud_hub.updates import renewal, signing
from cloud_hub.updates.repository import DAY_US
from cloud_hub.updates.signing import ROOT, SNAPSHOT, TARGETS, TIMESTAMP
from edge_protocol import metadata

_ROTATE = "sign it anew with the offline keys: cloud-hub keys rotate --keys OFFLINE_DIR"
_PUBLISH = "its publisher signs anew by publishing once more: cloud-hub publish DIR --key FILE"
_SERVE = "the hub renews it while it runs: cloud-hub serve; if it does, its log says what is wrong"
_LATE_DAYS = 1
"""The hub may be a day behind with what it renews by itself before anybody is told."""


class Dated(NamedTuple):
    """The newest metadata of a role in a repository, and until when it is accepted."""

    repository: str
    role: str
    expires_us: int


class Warned(msgspec.Struct, frozen=True):
    """What expires, when at the earliest, whether it has already, and what to do."""

    role: str
    expires_us: int
    is_over: bool
    cure: str

    @property
    def text(self) -> str:
        """The sentence without its date."""
        return f"{self.role} {'has expired' if self.is_over else 'expires soon'}; {self.cure}"


def coming(dated: Iterable[Dated], now_us: int, warn_days: int) -> list[Warned]:
    """What expires within `warn_days`, or is overdue where the hub renews it by itself; the first before the others.

    The same role of many gateways is one warning.
    """
    found: dict[str, Warned] = {}
    for each in sorted(dated, key=lambda each: each.expires_us):
        days, cure = _rule(each, warn_days)
        if each.expires_us < now_us + days * DAY_US:
            role = _named(each)
            found.setdefault(role, Warned(role, each.expires_us, each.expires_us <= now_us, cure))
    return list(found.values())


def warnings(connection: Connection, now_us: int, warn_days: int) -> list[Warned]:
    """The warnings about everything that gateways are asked to accept."""
    return coming(_dated(connection), now_us, warn_days)


def _dated(connection: Connection) -> list[Dated]:
    """All of it, but what a publisher signed who signs nothing any more."""
    column = trust_files.c
    query = select(column.repository, column.gateway, column.role, column.expires_us).order_by(column.version)
    newest = {(name, gateway, role): expires_us for name, gateway, role, expires_us in connection.execute(query)}
    revoked = select(publishers.c.name).where(publishers.c.revoked_us.is_not(None))
    gone = {signing.publisher_role(name) for name in connection.scalars(revoked)}
    return [Dated(name, role, expires_us) for (name, _, role), expires_us in newest.items() if role not in gone]


def _rule(each: Dated, warn_days: int) -> tuple[int, str]:
    if each.role in (SNAPSHOT, TIMESTAMP) or (each.repository, each.role) == (metadata.DIRECTOR, TARGETS):
        return renewal.LEFT_DAYS[each.role] - _LATE_DAYS, _SERVE
    return warn_days, _ROTATE if each.role in (ROOT, TARGETS) else _PUBLISH


def _named(each: Dated) -> str:
    publisher = each.role.removeprefix(signing.publisher_role(""))
    return f"{each.repository} {each.role}" if publisher == each.role else f"publisher {publisher}"
