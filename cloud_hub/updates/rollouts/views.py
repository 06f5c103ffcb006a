"""Rollouts as people look at them: a line each, one as a whole, and why a gateway has not been updated. Reads only."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import Connection, Row, func, select

from cloud_hub.storage.schema import rollout_decisions, rollout_members, rollouts
from cloud_hub.updates.rollouts import ledger
from cloud_hub.updates.rollouts.plan import Member, MemberState, Plan, Rollout, RolloutState, Ruling
from cloud_hub.updates.rollouts.tick import is_success

MAX_DECISIONS = 500


class RolloutLine(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout in a list. `states` counts its members."""

    id: int
    bundle: str
    version: str
    digest: str
    state: str
    cause: str
    reason: str
    wave: int
    waves: int
    states: dict[str, int]
    created_us: int
    changed_us: int
    actor: str
    purpose: str


class WaveView(msgspec.Struct, frozen=True):
    """One wave: its members by state, and whether it has succeeded. `state` is done, runs or waits."""

    number: int
    state: str
    states: dict[str, int]
    succeeded: bool
    members: tuple[Member, ...]


class DecisionView(msgspec.Struct, frozen=True):
    """What was decided, when and by whom."""

    at_us: int
    wave: int
    gateway: str
    pipeline: str
    actor: str
    text: str
    detail: dict[str, str]


class RolloutView(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout as a whole: the plan, the waves with their members, the decisions, the newest first."""

    line: RolloutLine
    plan: Plan
    waves: tuple[WaveView, ...]
    excluded: tuple[Member, ...]
    decisions: tuple[DecisionView, ...]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a pipeline is where it is: in words, the figures seen and asked for, the time left, the last decision."""

    gateway: str
    pipeline: str
    wave: int
    state: str
    why: str
    rule: str
    seen: tuple[str, ...]
    left_s: float | None
    last: DecisionView | None


def lines(connection: Connection, limit: int = 50) -> list[RolloutLine]:
    """The rollouts, the newest first."""
    rows = connection.execute(select(rollouts).order_by(rollouts.c.id.desc()).limit(limit)).all()
    return [_line(row, *_counted(connection, row.id)) for row in rows]


def view(connection: Connection, number: int) -> RolloutView:
    """One rollout.

    Raises:
        RolloutError: there is none of this number.
    """
    rollout = ledger.load(connection, number)
    row = connection.execute(select(rollouts).where(rollouts.c.id == number)).one()
    excluded = tuple(each for each in rollout.members if each.state is MemberState.EXCLUDED)
    return RolloutView(
        line=_line(row, _states(rollout.members), rollout.waves), plan=rollout.plan, excluded=excluded,
        waves=tuple(_wave(rollout, wave) for wave in range(rollout.waves)),
        decisions=tuple(_decisions(connection, number)),
    )  # fmt: skip


def explain(connection: Connection, number: int, gateway: str | None, now_us: int) -> list[Explanation]:
    """Why each pipeline, of one gateway or of all, is where it is.

    Raises:
        RolloutError: there is no rollout of this number.
    """
    rollout = ledger.load(connection, number)
    last: dict[tuple[str, str], DecisionView] = {}
    for each in _decisions(connection, number):
        last.setdefault((each.gateway, each.pipeline), each)
    chosen = [each for each in rollout.members if gateway in (None, each.gateway)]
    return [_explain(rollout, each, last.get(each.key), now_us) for each in chosen]


def _explain(rollout: Rollout, member: Member, last: DecisionView | None, now_us: int) -> Explanation:
    left_us = member.assigned_us + round(rollout.plan.deadline_s * 1_000_000) - now_us
    return Explanation(
        gateway=member.gateway, pipeline=member.pipeline, wave=member.wave + 1, state=member.state, last=last,
        why=_why(rollout, member), rule=_rule(rollout.plan),
        seen=tuple(f"{gate.name}: {gate.ruling}, {gate.text}" for gate in member.evidence.gates),
        left_s=max(left_us, 0) / 1_000_000 if member.state is MemberState.ASSIGNED else None,
    )  # fmt: skip


def _why(rollout: Rollout, member: Member) -> str:
    if member.state is MemberState.ASSIGNED:
        lacking = [gate.text for gate in member.evidence.gates if gate.ruling is not Ruling.PASS]
        step = f"; it last reported: {member.evidence.step}" if member.evidence.step else ""
        return f"not proved yet: {'; '.join(lacking)}{step}"
    if member.state is not MemberState.PENDING:
        return member.reason
    if rollout.state is not RolloutState.RUNNING:
        return f"the rollout is {rollout.state}: {rollout.reason}"
    if member.wave == rollout.wave:
        return "its wave runs; it is assigned at the next look, or when members of another wave have their verdicts"
    there = rollout.in_wave(rollout.wave)
    updated = sum(each.state is MemberState.UPDATED for each in there)
    needed = f"{rollout.plan.success_percent:g} %"
    done = f"{updated} of {len(there)} updated, {needed} needed"
    return f"it is in wave {member.wave + 1}; wave {rollout.wave + 1} runs: {done}"


def _rule(plan: Plan) -> str:
    gates = plan.gates
    parts = [f"at least {plan.min_verdicts} signed verdicts of {plan.target.bundle} {plan.target.version}"]
    if gates.uninspected_percent is not None:
        parts.append(f"UNINSPECTED at most {gates.uninspected_percent:g} %")
    if gates.latency_ms is not None:
        parts.append(f"p99 within {gates.latency_ms:g} ms")
    if gates.ng_percent is not None:
        parts.append(f"NG at most {gates.ng_percent:g} %")
    if gates.ng_factor is not None:
        parts.append(f"NG at most {gates.ng_factor:g} times that of before")
    return ", ".join(parts)


def _decisions(connection: Connection, number: int) -> list[DecisionView]:
    table = rollout_decisions
    query = select(table).where(table.c.rollout_id == number).order_by(table.c.id.desc()).limit(MAX_DECISIONS)
    return [
        DecisionView(row.at_us, row.wave + 1, row.gateway, row.pipeline, row.actor, row.text, row.detail)
        for row in connection.execute(query)
    ]


def _wave(rollout: Rollout, wave: int) -> WaveView:
    members = rollout.in_wave(wave)
    state = "waits" if wave > rollout.wave or not any(each.attempt for each in members) else "runs"
    if wave < rollout.wave or rollout.state is RolloutState.FINISHED:
        state = "done"
    return WaveView(wave + 1, state, _states(members), is_success(rollout.plan, members), members)


def _states(members: Iterable[Member]) -> dict[str, int]:
    counted = Counter(str(each.state) for each in members)
    return {str(state): counted[state] for state in MemberState if counted[state]}


def _counted(connection: Connection, number: int) -> tuple[dict[str, int], int]:
    table = rollout_members
    query = select(table.c.state, func.count(), func.max(table.c.wave)).where(table.c.rollout_id == number)
    rows: Sequence[Row[str, int, int]] = connection.execute(query.group_by(table.c.state)).all()
    found = {state: n for state, n, _ in rows}
    waves = max((wave + 1 for state, _, wave in rows if state != MemberState.EXCLUDED), default=0)
    return {str(state): found[state] for state in MemberState if state in found}, waves


def _line(row: Row[tuple[object, ...]], states: dict[str, int], waves: int) -> RolloutLine:
    names = (
        "id",
        "bundle",
        "version",
        "digest",
        "state",
        "cause",
        "reason",
        "created_us",
        "changed_us",
        "actor",
        "purpose",
    )
    values = {name: getattr(row, name) for name in names}
    return RolloutLine(**values, wave=row.wave + 1, waves=waves, states=states)
