"""Rollouts as rows: read whole, written as far as they have changed. Decides nothing.

Every decision is written twice: as a row beside its rollout, and at the end of the audit chain.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, insert, or_, select, update

from cloud_hub.access import audit
from cloud_hub.access.audit import Actor, Entry
from cloud_hub.errors import RolloutError
from cloud_hub.storage.database import put
from cloud_hub.storage.schema import rollout_decisions, rollout_members, rollouts
from cloud_hub.updates.rollouts.plan import (
    ENDED,
    Cause,
    Decision,
    Evidence,
    Member,
    MemberState,
    Plan,
    Rollout,
    RolloutState,
    Target,
    Verdicts,
)

_OPEN = (MemberState.ASSIGNED, MemberState.UNKNOWN, MemberState.REVERTING)
_COLUMNS = ("gateway", "pipeline", "wave", "state", "reason", "attempt", "assigned_us", "since", "changed_us")


class _Measured(msgspec.Struct, frozen=True):
    """What of a member has no column of its own."""

    previous: Target | None = None
    baseline: Verdicts = {}
    before: Verdicts = {}
    evidence: Evidence = Evidence()


def live(connection: Connection, since_us: int) -> list[int]:
    """The rollouts that another look may change: not over, or over since then with members of whom news may come."""
    waiting = select(rollout_members.c.rollout_id).where(rollout_members.c.state.in_(_OPEN))
    late = (rollouts.c.changed_us >= since_us) & rollouts.c.id.in_(waiting)
    query = select(rollouts.c.id).where(or_(rollouts.c.state.not_in(ENDED), late)).order_by(rollouts.c.id)
    return list(connection.execute(query).scalars())


def claim(connection: Connection, number: int, *, wait: bool = False) -> bool:
    """Whether this transaction alone may now change a rollout; a replica at work on it is left alone, or awaited.

    On SQLite a writing transaction is alone already.
    """
    query = select(rollouts.c.id).where(rollouts.c.id == number).with_for_update(skip_locked=not wait)
    return connection.execute(query).one_or_none() is not None


def load(connection: Connection, number: int) -> Rollout:
    """A rollout with all its members.

    Raises:
        RolloutError: there is none of this number.
    """
    row = connection.execute(select(rollouts).where(rollouts.c.id == number)).one_or_none()
    if row is None:
        message = f"there is no rollout {number}"
        raise RolloutError(message, "cloud-hub rollout list shows those there are")
    query = select(rollout_members).where(rollout_members.c.rollout_id == number)
    order = (rollout_members.c.wave, rollout_members.c.gateway, rollout_members.c.pipeline)
    members = tuple(_member(each) for each in connection.execute(query.order_by(*order)))
    return Rollout(
        id=row.id, plan=msgspec.convert(row.plan, Plan), members=members, tenant=row.tenant,
        state=RolloutState(row.state), cause=Cause(row.cause), wave=row.wave, reason=row.reason,
        created_us=row.created_us, changed_us=row.changed_us, joined_us=row.joined_us,
    )  # fmt: skip


def add(connection: Connection, rollout: Rollout, actor: Actor) -> Rollout:
    """Write a new rollout; answers with it and its number."""
    target = rollout.plan.target
    values = {
        **_head(rollout), "tenant": rollout.tenant, "bundle": target.bundle, "version": target.version,
        "digest": target.digest, "actor": actor.name, "purpose": actor.reason, "created_us": rollout.created_us,
        "plan": msgspec.to_builtins(rollout.plan),
    }  # fmt: skip
    number = connection.execute(insert(rollouts).values(**values).returning(rollouts.c.id)).scalar_one()
    rollout = msgspec.structs.replace(rollout, id=number)
    put(connection, rollout_members, *(_row(rollout, each) for each in rollout.members))
    return rollout


def store(connection: Connection, before: Rollout, after: Rollout) -> None:
    """Write what has changed between two looks, members that joined among it."""
    if _head(before) != _head(after):
        connection.execute(update(rollouts).where(rollouts.c.id == after.id).values(**_head(after)))
    known = {each.key: each for each in before.members}
    put(connection, rollout_members, *(_row(after, each) for each in after.members if known.get(each.key) != each))


def decide(connection: Connection, rollout: Rollout, decisions: Iterable[Decision], actor: Actor, now_us: int) -> None:
    """Write down what was decided, beside the rollout and in the audit chain."""
    target = rollout.plan.target
    for each in decisions:
        values: dict[str, Any] = {
            "tenant": rollout.tenant, "rollout_id": rollout.id, "gateway": each.gateway, "pipeline": each.pipeline,
            "wave": each.wave, "at_us": now_us, "actor": actor.name, "text": each.text, "detail": dict(each.detail),
        }  # fmt: skip
        connection.execute(insert(rollout_decisions).values(**values))
        where = f" {each.pipeline}" if each.pipeline else ""
        subject = f"{rollout.id} {target.bundle} {target.version}{where}"
        doer = Actor(actor.name, actor.reason, rollout.tenant)
        entry = Entry("rollout", subject, each.gateway, {**each.detail, "decision": each.text})
        audit.append(connection, doer, entry, now_us)


def _head(rollout: Rollout) -> dict[str, Any]:
    names = ("state", "cause", "wave", "reason", "changed_us", "joined_us")
    return {name: getattr(rollout, name) for name in names}


def _row(rollout: Rollout, member: Member) -> dict[str, Any]:
    measured = _Measured(member.previous, member.baseline, member.before, member.evidence)
    columns = {name: getattr(member, name) for name in _COLUMNS}
    return {"rollout_id": rollout.id, "tenant": rollout.tenant, **columns, "measured": msgspec.to_builtins(measured)}


def _member(row: Row[Any]) -> Member:
    measured = msgspec.convert(row.measured, _Measured)
    columns = {name: getattr(row, name) for name in _COLUMNS}
    return Member(
        **{**columns, "state": MemberState(row.state)}, previous=measured.previous, baseline=measured.baseline,
        before=measured.before, evidence=measured.evidence,
    )  # fmt: skip
