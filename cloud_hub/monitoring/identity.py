"""A gateway whose records contradict what is archived is probably two: a copied card, a cloned machine."""

from sqlalchemy import Connection, func, select

from cloud_hub.monitoring.alarms import CLONED, Subject, raise_alarm
from cloud_hub.storage.schema import alarms, quarantine


def tick(connection: Connection, now_us: int) -> None:
    """Raise one alarm for each gateway with contradictions that came since its last alarm, in this transaction."""
    told = (
        select(func.coalesce(func.max(func.coalesce(alarms.c.cleared_us, alarms.c.raised_us)), 0))
        .where(alarms.c.gateway == quarantine.c.gateway, alarms.c.kind == CLONED)
        .scalar_subquery()
    )
    query = (
        select(quarantine.c.tenant, quarantine.c.gateway, func.count().label("n"))
        .group_by(quarantine.c.tenant, quarantine.c.gateway)
        .having(func.max(quarantine.c.received_us) > told)
    )
    for row in connection.execute(query).all():
        text = (
            f"{row.gateway}: {row.n} message(s) carry known identities with other bytes. Two machines use this "
            "identity, or its disk was copied: enrol one of them anew"
        )
        raise_alarm(connection, Subject(row.gateway, CLONED, tenant=row.tenant), text, now_us)
