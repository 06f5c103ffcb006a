"""Alarms: raised once, kept up to date while they stand, cleared once. At most one stands for the same thing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, select, update

from cloud_hub.storage.database import insert
from cloud_hub.storage.schema import alarms

DRIFT = "drift"
CLONED = "cloned-identity"


@dataclass(frozen=True, slots=True)
class Subject:
    """What an alarm is about."""

    gateway: str
    kind: str
    pipeline: str = ""
    bundle: str = ""
    tenant: str = "default"


def raise_alarm(
    connection: Connection, subject: Subject, text: str, at_us: int, signals: Mapping[str, float] | None = None
) -> None:
    """Raise an alarm, or bring the words and signals of the one that stands up to date."""
    values = {"text": text, "signals": dict(signals or {})}
    statement = insert(connection, alarms).values(
        gateway=subject.gateway, kind=subject.kind, pipeline=subject.pipeline, bundle=subject.bundle,
        tenant=subject.tenant, raised_us=at_us, **values,
    )  # fmt: skip
    key = [alarms.c.gateway, alarms.c.kind, alarms.c.pipeline, alarms.c.bundle]
    connection.execute(
        statement.on_conflict_do_update(index_elements=key, index_where=alarms.c.cleared_us.is_(None), set_=values)
    )


def clear(connection: Connection, subject: Subject, at_us: int) -> None:
    """Clear the alarm on `subject`, if one stands."""
    connection.execute(update(alarms).where(*_is(subject)).values(cleared_us=at_us))


def clear_others(connection: Connection, subject: Subject, at_us: int) -> None:
    """Clear the alarms of this kind on other bundles of the same pipeline: what they were about no longer runs."""
    mine = (alarms.c.gateway == subject.gateway, alarms.c.kind == subject.kind, alarms.c.pipeline == subject.pipeline)
    others = update(alarms).where(*mine, alarms.c.bundle != subject.bundle, alarms.c.cleared_us.is_(None))
    connection.execute(others.values(cleared_us=at_us))


def standing(connection: Connection, subject: Subject) -> Row[Any] | None:
    """The alarm that stands on `subject`."""
    return connection.execute(select(alarms).where(*_is(subject))).one_or_none()


def _is(subject: Subject) -> tuple[ColumnElement[bool], ...]:
    return (
        alarms.c.gateway == subject.gateway,
        alarms.c.kind == subject.kind,
        alarms.c.pipeline == subject.pipeline,
        alarms.c.bundle == subject.bundle,
        alarms.c.cleared_us.is_(None),
    )
