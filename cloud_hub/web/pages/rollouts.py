"""Rollouts: the list of them, and one of them with its waves, its members' evidence and everything that was decided."""

from collections.abc import Mapping
from dataclasses import dataclass

from cloud_hub.updates.rollouts import views
from cloud_hub.updates.rollouts.plan import Member, MemberState, Plan
from cloud_hub.updates.rollouts.views import RolloutView, WaveView
from cloud_hub.web.page import Page, Part, Reading

SHOWN_DECISIONS = 100
FRESH_S = 0.5
MAX_DIGITS = 18
SHOWN_MEMBERS = 200
"""A wave of more is drawn as shares, and its table shows first those that are not as they should be."""

_FIRST = (MemberState.FAILED, MemberState.UNKNOWN, MemberState.REVERTING, MemberState.ASSIGNED)


@dataclass(frozen=True, slots=True)
class Row:
    """A member, and when its time is over; 0 where none runs."""

    member: Member
    until_us: int

    @property
    def is_measured(self) -> bool:
        """Whether it ever had the release."""
        return self.member.attempt > 0


@dataclass(frozen=True, slots=True)
class Table:
    """A wave's members in the order of their trouble, and how many more there are."""

    wave: WaveView
    rows: tuple[Row, ...]
    more: int


def every(reading: Reading, _subject: str) -> Mapping[str, object]:
    """All rollouts, the newest first."""
    return {"rollouts": views.lines(reading.connection)}


def found(reading: Reading, subject: str) -> RolloutView:
    """The rollout of this number.

    Raises:
        NotHere: there is none.
    """
    number = int(subject) if subject.isascii() and subject.isdecimal() and len(subject) < MAX_DIGITS else 0
    return reading.memo.get(("rollout", number), FRESH_S, lambda: reading.rollout(number))


def head(reading: Reading, subject: str) -> Mapping[str, object]:
    """What it is, where it stands, and the rules it goes by."""
    view = found(reading, subject)
    return {"line": view.line, "rules": rules(view.plan), "plan": view.plan}


def waves(reading: Reading, subject: str) -> Mapping[str, object]:
    """The waves as a picture."""
    view = found(reading, subject)
    return {"line": view.line, "waves": view.waves, "shown": SHOWN_MEMBERS, "excluded": view.excluded}


def members(reading: Reading, subject: str) -> Mapping[str, object]:
    """Each member with its figures and the rulings of its gates."""
    view = found(reading, subject)
    tables = tuple(_table(view.plan, wave) for wave in view.waves)
    return {"line": view.line, "plan": view.plan, "tables": tables, "excluded": view.excluded}


def decisions(reading: Reading, subject: str) -> Mapping[str, object]:
    """What was decided, the newest first."""
    view = found(reading, subject)
    return {"decisions": view.decisions[:SHOWN_DECISIONS], "more": max(len(view.decisions) - SHOWN_DECISIONS, 0)}


def rules(plan: Plan) -> list[tuple[str, str]]:
    """The plan in words."""
    gates = plan.gates
    asked = [
        ("A wave succeeds at", f"{plan.success_percent:g} % updated"),
        ("At", _limits(plan)),
        ("Deadline", _length(plan.deadline_s)),
        ("Proof", f"{plan.min_verdicts} signed verdicts"),
    ]
    if gates.uninspected_percent is not None:
        asked.append(("UNINSPECTED", f"≤ {gates.uninspected_percent:g} %"))
    if gates.latency_ms is not None:
        asked.append(("p99", f"≤ {gates.latency_ms:g} ms"))
    if gates.ng_percent is not None:
        asked.append(("NG", f"≤ {gates.ng_percent:g} %"))
    if gates.ng_factor is not None:
        asked.append(("NG", f"≤ {gates.ng_factor:g} × before"))
    return asked


def _limits(plan: Plan) -> str:
    reached = [f"{limit} {name}" for name in ("failed", "unknown") for limit in _limit(plan, name)]
    return f"{' or '.join([*reached, 'a wave without success'])}: {plan.on_failure}"


def _limit(plan: Plan, name: str) -> list[str]:
    threshold = plan.failure if name == "failed" else plan.unknown
    named = [] if threshold.count is None else [str(threshold.count)]
    return named + ([] if threshold.percent is None else [f"{threshold.percent:g} %"])


def _length(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def _table(plan: Plan, wave: WaveView) -> Table:
    trouble = {state: place for place, state in enumerate(_FIRST)}
    ordered = sorted(wave.members, key=lambda each: (trouble.get(each.state, len(_FIRST)), each.key))
    shown = ordered if len(ordered) <= SHOWN_MEMBERS else ordered[: SHOWN_MEMBERS // 2]
    return Table(wave, tuple(_row(plan, each) for each in shown), len(ordered) - len(shown))


def _row(plan: Plan, member: Member) -> Row:
    runs = member.state is MemberState.ASSIGNED
    return Row(member, member.assigned_us + round(plan.deadline_s * 1_000_000) if runs else 0)


LIST = Page(
    name="rollouts",
    title="Rollouts",
    path="/rollouts",
    icon="waves",
    template="rollouts.html",
    parts={"every": Part("rollouts/every.html", every)},
)

PAGE = Page(
    name="rollout",
    title="Rollout",
    path="/rollouts/{subject}",
    icon="waves",
    template="rollout.html",
    parts={
        "head": Part("rollouts/head.html", head),
        "waves": Part("rollouts/waves.html", waves),
        "members": Part("rollouts/members.html", members),
        "decisions": Part("rollouts/decisions.html", decisions),
    },
    in_navigation=False,
)
