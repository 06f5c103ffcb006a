"""One look at a rollout: what it was, what is known of its members, and the time; out comes what it is, and what to do.

Pure, and twice the same look is one: a second one changes nothing and asks for nothing, but for a wave of more than
`MAX_GATEWAYS`, which is assigned look by look. A wave is followed by the next only when every member of it has a
verdict and enough of these are `updated`; completion alone never advances.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from cloud_hub.updates.rollouts import gates
from cloud_hub.updates.rollouts.plan import (
    ENDED,
    Action,
    Assign,
    Cause,
    Command,
    Decision,
    Evidence,
    Key,
    Member,
    MemberState,
    Plan,
    Report,
    Reports,
    Rollout,
    RolloutState,
    Ruling,
    Target,
    Threshold,
)
from edge_protocol.updates import PASSING, Step

MAX_GATEWAYS = 25
"""So many are assigned in one look: each is signed for, and the receiver waits for the same database."""

_S = 1_000_000
_NOTHING = Report()
_OPEN = frozenset({MemberState.PENDING, MemberState.ASSIGNED})
_PROVING = frozenset({MemberState.ASSIGNED, MemberState.UNKNOWN})
_STATE_AFTER = {
    Action.PAUSE: RolloutState.PAUSED,
    Action.STOP: RolloutState.STOPPED,
    Action.REVERT: RolloutState.REVERTING,
}


@dataclass(slots=True)
class _Look:
    """A rollout while it is looked at."""

    rollout: Rollout
    reports: Reports
    now_us: int
    commands: list[Command] = field(default_factory=list)

    def say(self, text: str, member: Member | None = None, **detail: object) -> None:
        """Note a decision."""
        about = {} if member is None else {"gateway": member.gateway, "pipeline": member.pipeline}
        wave = self.rollout.wave if member is None else member.wave
        figures = {name: str(value) for name, value in detail.items()}
        self.commands.append(Decision(text=text, wave=wave, detail=figures, **about))

    def turn(self, state: RolloutState, cause: Cause, reason: str) -> None:
        """Bring the rollout into another state, and say why."""
        self.rollout = replace(self.rollout, state=state, cause=cause, reason=reason, changed_us=self.now_us)
        self.say(f"{state}: {reason}", cause=cause)

    def report(self, member: Member) -> Report:
        """What is known of a member."""
        return self.reports.get(member.key, _NOTHING)


def tick(rollout: Rollout, reports: Reports, now_us: int) -> tuple[Rollout, tuple[Command, ...]]:
    """The rollout after this look, and what is to be done for it."""
    look = _Look(rollout, reports, now_us)
    look.rollout = replace(rollout, members=tuple(_measure(look, member) for member in rollout.members))
    paused_by_hand = rollout.state is RolloutState.PAUSED and rollout.cause is not Cause.FAILURE
    if rollout.state is RolloutState.RUNNING or paused_by_hand:
        _check_thresholds(look)
    if look.rollout.state is RolloutState.RUNNING:
        _advance(look)
    if look.rollout.state is RolloutState.RUNNING:
        _assign(look)
    if look.rollout.state is RolloutState.REVERTING:
        _revert(look)
    return look.rollout, tuple(look.commands)


def is_over(rollout: Rollout) -> bool:
    """Whether nothing can come of another look."""
    waiting = _PROVING | {MemberState.REVERTING}
    return rollout.state in ENDED and not any(each.state in waiting for each in rollout.members)


def is_reached(threshold: Threshold, n: int, total: int) -> bool:
    """Whether `n` of `total` reach a threshold. Nothing reaches none, and all reach 100 %."""
    by_count = threshold.count is not None and n >= threshold.count
    by_percent = threshold.percent is not None and n * 100 >= threshold.percent * total
    return n > 0 and (by_count or by_percent)


def is_success(plan: Plan, members: Iterable[Member]) -> bool:
    """Whether enough of these are updated: those without a proof count against it like those that failed."""
    every = list(members)
    updated = _count(every, MemberState.UPDATED)
    return not every or (updated > 0 and updated * 100 >= plan.success_percent * len(every))


def _measure(look: _Look, member: Member) -> Member:
    report = look.report(member)
    if report.superseded:
        return _overtaken(look, member, report.superseded)
    if member.state in _PROVING:
        return _prove(look, member, report)
    if member.state is MemberState.UPDATED and report.refused is not None and report.refused.step == Step.RETURNED:
        return _become(look, member, MemberState.FAILED, _words(report))
    if member.state is MemberState.REVERTING and member.previous is not None:
        seen = sum(gates.since(report.totals.get(member.previous.digest, {}), member.baseline).values())
        if seen:
            return _become(look, member, MemberState.REVERTED, f"{seen} signed verdicts carry {_name(member.previous)}")
    return member


def _prove(look: _Look, member: Member, report: Report) -> Member:
    """The order matters: what the gateway gave back has failed, whatever it judged before."""
    plan, refused = look.rollout.plan, report.refused
    evidence = gates.judge(plan, member, report)
    member = replace(member, evidence=evidence) if evidence != member.evidence else member
    overdue = look.now_us >= member.assigned_us + round(plan.deadline_s * _S)
    if refused is not None and refused.by_name and (overdue or refused.refusal not in PASSING):
        return _become(look, member, MemberState.FAILED, _words(report))
    ruling = gates.overall(evidence)
    if ruling is Ruling.FAIL:
        failed = "; ".join(f"gate {each.name}: {each.text}" for each in evidence.gates if each.ruling is Ruling.FAIL)
        return _become(look, member, MemberState.FAILED, failed)
    if ruling is Ruling.PASS:
        return _become(look, member, MemberState.UPDATED, f"{evidence.n} signed verdicts carry it, every gate passes")
    if overdue and member.state is MemberState.ASSIGNED:
        return _become(look, member, MemberState.UNKNOWN, f"deadline over, {_missing(evidence, report)}")
    return member


def _overtaken(look: _Look, member: Member, by: int) -> Member:
    if member.state is not MemberState.ASSIGNED:
        return member
    return _become(look, member, MemberState.UNKNOWN, f"rollout {by} took over before anything was proved")


def _become(look: _Look, member: Member, state: MemberState, reason: str) -> Member:
    figures = {gate.name: f"{gate.ruling}: {gate.text}" for gate in member.evidence.gates}
    look.say(f"{state}: {reason}", member, **figures)
    return replace(member, state=state, reason=reason, changed_us=look.now_us)


def _words(report: Report) -> str:
    refused = report.refused
    if refused is None:
        return ""
    return f"{refused.refusal or refused.step}: {refused.detail}" if refused.detail else refused.refusal or refused.step


def _short(reason: str) -> str:
    """The name of a reason: what stands before its detail, which its member keeps."""
    return re.split(r"[:;,(]", reason, maxsplit=1)[0].strip()


def _missing(evidence: Evidence, report: Report) -> str:
    """What was waited for in vain."""
    lacking = [f"{gate.name} {gate.text}" for gate in evidence.gates if gate.ruling is not Ruling.PASS]
    seen = "; ".join(lacking) if evidence.n else "no signed verdict carries it"
    return f"{seen} (last heard: {_words(report)})" if report.refused is not None else seen


def _check_thresholds(look: _Look) -> None:
    """In every wave that has begun: what was updated may be given back, who was silent may return with bad news."""
    plan = look.rollout.plan
    for wave in range(look.rollout.wave + 1):
        members = look.rollout.in_wave(wave)
        for state, threshold in ((MemberState.FAILED, plan.failure), (MemberState.UNKNOWN, plan.unknown)):
            n = _count(members, state)
            if is_reached(threshold, n, len(members)):
                first = next(each for each in members if each.state is state)
                where = f"{first.gateway} {first.pipeline}: {_short(first.reason)}"
                limit = f"limit {_limit(threshold)}"
                _act(look, f"wave {wave + 1}: {n} of {len(members)} {state}, {limit}; {where}")
                return


def _act(look: _Look, reason: str) -> None:
    look.turn(_STATE_AFTER[look.rollout.plan.on_failure], Cause.FAILURE, reason)


def _advance(look: _Look) -> None:
    """Go on to the next wave, and past it if nobody is in it any more; or end."""
    while not any(each.state in _OPEN for each in look.rollout.in_wave(look.rollout.wave)):
        rollout = look.rollout
        for wave in range(rollout.wave + 1):
            members = rollout.in_wave(wave)
            if not is_success(rollout.plan, members):
                n, needed = _count(members, MemberState.UPDATED), rollout.plan.success_percent
                _act(look, f"wave {wave + 1} is complete with {n} of {len(members)} updated, {needed:g} % are needed")
                return
        if rollout.wave + 1 >= rollout.waves:
            done = _count(rollout.members, MemberState.UPDATED)
            total = sum(each.state is not MemberState.EXCLUDED for each in rollout.members)
            look.turn(RolloutState.FINISHED, Cause.NONE, f"{done} of {total} updated")
            return
        done = _count(rollout.in_wave(rollout.wave), MemberState.UPDATED)
        look.rollout = replace(rollout, wave=rollout.wave + 1, changed_us=look.now_us)
        total = len(rollout.in_wave(rollout.wave))
        look.say(f"wave {rollout.wave + 2} begins: {done} of {total} of the one before are updated")


def _assign(look: _Look) -> None:
    """Have the director name the release for those of the wave that wait. Never while another wave is under way."""
    rollout = look.rollout
    if any(each.state is MemberState.ASSIGNED and each.wave != rollout.wave for each in rollout.members):
        return
    waiting = _some([each for each in rollout.in_wave(rollout.wave) if each.state is MemberState.PENDING])
    target, reason = rollout.plan.target, f"wave {rollout.wave + 1}"
    fresh = {each.key: _assigned(look, each) for each in waiting}
    _direct(look, {member.key: target for member in fresh.values()}, reason)
    _store(look, fresh)


def _assigned(look: _Look, member: Member) -> Member:
    report, target = look.report(member), look.rollout.plan.target
    first = member.attempt == 0
    previous = report.running or member.previous if first else member.previous
    before = report.totals.get(previous.digest, {}) if first and previous is not None else member.before
    member = replace(
        member, state=MemberState.ASSIGNED, previous=previous, before=before, assigned_us=look.now_us,
        since=report.last_batch, attempt=member.attempt + 1, baseline=report.totals.get(target.digest, {}),
        reason="", changed_us=look.now_us,
    )  # fmt: skip
    look.say(f"assigned {_name(target)}", member, attempt=member.attempt)
    return replace(member, evidence=gates.judge(look.rollout.plan, member, report))


def _revert(look: _Look) -> None:
    """Have the director name what ran before, for everyone who was ever given the release; end when it runs again."""
    away = {MemberState.EXCLUDED, MemberState.REVERTING, MemberState.REVERTED}
    everyone = [each for each in look.rollout.members if each.attempt and each.state not in away]
    given = _some(everyone)
    fresh = {each.key: _given_back(look, each) for each in given}
    # One by one: what cannot be given back on one pipeline keeps no other from it.
    for each in given:
        _direct(look, {each.key: each.previous}, look.rollout.reason)
    _store(look, fresh)
    rollout = look.rollout
    missing = _count(rollout.members, MemberState.REVERTING)
    if len(everyone) > len(given):
        return
    if missing and look.now_us < rollout.changed_us + round(rollout.plan.deadline_s * _S):
        return
    back = _count(rollout.members, MemberState.REVERTED)
    words = f"{back} run the release of before again" + (f", {missing} are not known to" if missing else "")
    end = RolloutState.STOPPED if rollout.cause is Cause.OPERATOR else RolloutState.FAILED
    look.turn(end, rollout.cause, f"{rollout.reason}; {words}")


def _given_back(look: _Look, member: Member) -> Member:
    if member.previous is None:
        reason = "nothing is known of before: it keeps what it runs"
        return _become(look, member, MemberState.EXCLUDED, reason)
    report, name = look.report(member), _name(member.previous)
    look.say(f"reverting to {name}", member)
    return replace(
        member, state=MemberState.REVERTING, baseline=report.totals.get(member.previous.digest, {}),
        since=report.last_batch, reason=f"given back {name}", changed_us=look.now_us,
    )  # fmt: skip


def _some(members: Sequence[Member]) -> list[Member]:
    """Those of the first gateways, with all their pipelines."""
    first = set(sorted({each.gateway for each in members})[:MAX_GATEWAYS])
    return [each for each in members if each.gateway in first]


def _direct(look: _Look, targets: Mapping[Key, Target | None], reason: str) -> None:
    """One assignment a gateway, whatever the number of its pipelines."""
    by_gateway: dict[str, dict[str, Target | None]] = {}
    for (gateway, pipeline), target in targets.items():
        by_gateway.setdefault(gateway, {})[pipeline] = target
    look.commands += [Assign(gateway, wanted, reason) for gateway, wanted in sorted(by_gateway.items())]


def _store(look: _Look, fresh: Mapping[Key, Member]) -> None:
    members = tuple(fresh.get(each.key, each) for each in look.rollout.members)
    look.rollout = replace(look.rollout, members=members)


def _count(members: Iterable[Member], state: MemberState) -> int:
    return sum(each.state is state for each in members)


def _limit(threshold: Threshold) -> str:
    count = [] if threshold.count is None else [str(threshold.count)]
    percent = [] if threshold.percent is None else [f"{threshold.percent:g} %"]
    return " or ".join(count + percent)


def _name(target: Target) -> str:
    return f"{target.bundle} {target.version}"
