"""Rollouts and what is known of their members, in a few words: for tests that look at one."""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from cloud_hub.updates.rollouts.plan import (
    Action,
    Assign,
    Gates,
    Key,
    Member,
    MemberState,
    Plan,
    Refused,
    Report,
    Rollout,
    Target,
    Threshold,
)
from cloud_hub.updates.rollouts.tick import tick
from edge_protocol.updates import Step

NEW = Target("surface-anomaly", "1.1.0", "b" * 64)
OLD = Target("surface-anomaly", "1.0.0", "a" * 64)
DEADLINE_S = 600
START_US = 1_000_000_000
SOON_US = START_US + 60_000_000
LATE_US = START_US + DEADLINE_S * 1_000_000

PLAN = Plan(
    target=NEW, deadline_s=DEADLINE_S, min_verdicts=20, gates=Gates(latency_ms=50.0, uninspected_percent=5.0),
    failure=Threshold(percent=10.0), unknown=Threshold(percent=20.0), success_percent=90.0,
)  # fmt: skip


def rollout(*waves: int, plan: Plan = PLAN) -> Rollout:
    """A new rollout over waves of so many gateways, `g00`, `g01` and so on, with one pipeline each."""
    of_each = [wave for wave, size in enumerate(waves) for _ in range(size)]
    members = (Member(gateway=f"g{i:02}", pipeline="seal", wave=wave) for i, wave in enumerate(of_each))
    return Rollout(id=1, plan=plan, members=tuple(members))


def with_action(action: Action) -> Plan:
    """The plan with another action on failure."""
    return replace(PLAN, on_failure=action)


def report(
    new: int = 0, old: int = 1000, *, ng: int = 0, uninspected: int = 0, late: int = 0, running: Target | None = OLD,
    refusal: str = "", step: Step = Step.REFUSED, by_name: bool = True, superseded: int = 0,
) -> Report:  # fmt: skip
    """What is known of one: so many verdicts of the new release and of the one before."""
    judged = {"OK": new - ng - uninspected, "NG": ng, "UNINSPECTED": uninspected}
    totals = {NEW.digest: {name: n for name, n in judged.items() if n}, OLD.digest: {"OK": old}}
    latencies = (60_000,) * late + (4_000,) * (new - uninspected - late)
    refused = Refused(step, refusal, "a detail", by_name) if refusal else None
    return Report(
        running=running, totals=totals, latencies_us=latencies, refused=refused, superseded=superseded, last_batch=7
    )


PROVED = report(new=40)
SILENT = report()
REFUSED = report(refusal="SelfTestFailed")


def all_of(members: Iterable[Member], told: Report) -> dict[Key, Report]:
    """The same report for every member."""
    return {each.key: told for each in members}


def states(found: Rollout) -> dict[str, MemberState]:
    """Where each gateway stands."""
    return {each.gateway: each.state for each in found.members}


def given(found: Rollout, **new: MemberState) -> Rollout:
    """The rollout with some gateways in other states, as if they had been assigned at the start."""
    changed = (_put(each, new[each.gateway]) if each.gateway in new else each for each in found.members)
    return replace(found, members=tuple(changed))


def _put(member: Member, state: MemberState) -> Member:
    if state in (MemberState.PENDING, MemberState.EXCLUDED):
        return replace(member, state=state)
    before: Mapping[str, int] = {"OK": 1000}
    return replace(member, state=state, attempt=1, assigned_us=START_US, since=3, previous=OLD, before=before)


def look(found: Rollout, told: Mapping[Key, Report], now_us: int = SOON_US) -> tuple[Rollout, list[Assign]]:
    """A tick, and the assignments it asks for."""
    after, commands = tick(found, told, now_us)
    return after, [each for each in commands if isinstance(each, Assign)]
