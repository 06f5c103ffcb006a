"""What a rollout is, as values: its plan, its members, where each stands and what was measured of it. No behaviour.

All of it lies in the database; a tick turns one such value into the next.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

DEADLINE_S = 24 * 3600
MIN_VERDICTS = 100

Key: TypeAlias = tuple[str, str]
"""A gateway and one of its pipelines."""

Verdicts: TypeAlias = Mapping[str, int]
"""Verdicts by the name of their kind."""

Percent: TypeAlias = Annotated[float, Meta(ge=0, le=100)]
Positive: TypeAlias = Annotated[int, Meta(ge=1)]


class RolloutState(StrEnum):
    """Where a rollout stands. The last three are ends."""

    RUNNING = "running"
    PAUSED = "paused"
    REVERTING = "reverting"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"


ENDED = frozenset({RolloutState.STOPPED, RolloutState.FINISHED, RolloutState.FAILED})


class MemberState(StrEnum):
    """Where one pipeline of one gateway stands in a rollout."""

    PENDING = "pending"
    """Its wave has not begun, or it is to be tried again."""
    ASSIGNED = "assigned"
    """The director names the release for it; nothing is proved yet."""
    UPDATED = "updated"
    """Signed verdicts carry the release's digest, and every gate passed."""
    FAILED = "failed"
    """The gateway refused it or gave it back, or a gate failed."""
    UNKNOWN = "unknown"
    """Its deadline is over without a proof. It may still turn into either."""
    EXCLUDED = "excluded"
    """It takes no part and counts nowhere."""
    REVERTING = "reverting"
    """The director names the release of before again; signed verdicts of that one are awaited."""
    REVERTED = "reverted"
    """Signed verdicts carry the release of before again."""


class Action(StrEnum):
    """What becomes of a rollout when a threshold is reached."""

    PAUSE = "pause"
    STOP = "stop"
    REVERT = "revert"


class Cause(StrEnum):
    """Why a rollout is paused or over: only a pause by failure has members to try again."""

    NONE = ""
    FAILURE = "failure"
    OPERATOR = "operator"


class Ruling(StrEnum):
    """What a gate says. Time alone never turns insufficient into pass."""

    PASS = "pass"  # noqa: S105 (a ruling)
    FAIL = "fail"
    INSUFFICIENT = "insufficient"


class Target(msgspec.Struct, frozen=True):
    """A release by name, version and the digest of its manifest."""

    bundle: str
    version: str
    digest: str


class Threshold(msgspec.Struct, frozen=True, kw_only=True):
    """So many members of a wave, or such a share of it; reached at the number itself. Neither means never."""

    count: Positive | None = None
    percent: Percent | None = None


class Gates(msgspec.Struct, frozen=True, kw_only=True):
    """What verdicts of the new release must show. A limit of None is not asked for.

    `latency_ms` is the manifest's budget: 99 of 100 verdicts must keep it, or half as much again as the release of
    before took on that very pipeline: what is busy was busy before. `ng_factor` is times the share of NG that the
    release of before had there, `ng_percent` an absolute limit.
    """

    uninspected_percent: Percent | None = 5.0
    latency_ms: float | None = None
    ng_percent: Percent | None = None
    ng_factor: Annotated[float, Meta(gt=0)] | None = None


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which pipelines of which gateways: every criterion that is given must hold, one value of each is enough.

    Without `pipelines` it is those that run a bundle of the release's name.
    """

    sites: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}
    gateways: tuple[str, ...] = ()
    pipelines: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for; it never changes. `waves` are as written: `1`, `50%`, `rest`."""

    target: Target
    selection: Selection = Selection()
    waves: tuple[str, ...] = ("1", "50%", "100%")
    deadline_s: Annotated[float, Meta(gt=0)] = float(DEADLINE_S)
    success_percent: Percent = 90.0
    failure: Threshold = Threshold(percent=10.0)
    unknown: Threshold = Threshold(percent=20.0)
    min_verdicts: Positive = MIN_VERDICTS
    gates: Gates = Gates()
    on_failure: Action = Action.PAUSE


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """One gate's ruling: `hits` of `n` verdicts against a limit, both as shares."""

    name: str
    ruling: Ruling
    n: int = 0
    hits: int = 0
    limit: float = 0.0
    text: str = ""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What signed batches showed since the assignment, and the last step the gateway reported."""

    verdicts: Verdicts = {}
    p99_ms: float = 0.0
    p99_limit_ms: float = 0.0
    gates: tuple[Gate, ...] = ()
    step: str = ""

    @property
    def n(self) -> int:
        """How many verdicts carry the release's digest."""
        return sum(self.verdicts.values())


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One pipeline of one gateway in a rollout.

    `baseline` counts what the release had already judged there when it was assigned, `before` what the release of
    before had; `since` is the last batch the hub had then. `reason` says in words why the state is what it is.
    """

    gateway: str
    pipeline: str
    wave: int
    state: MemberState = MemberState.PENDING
    previous: Target | None = None
    assigned_us: int = 0
    since: int = 0
    attempt: int = 0
    baseline: Verdicts = {}
    before: Verdicts = {}
    evidence: Evidence = Evidence()
    reason: str = ""
    changed_us: int = 0

    @property
    def key(self) -> Key:
        """Gateway and pipeline."""
        return self.gateway, self.pipeline


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout at one moment. `wave` is the one that runs, from 0; `reason` says why it is in its state."""

    id: int
    plan: Plan
    members: tuple[Member, ...]
    tenant: str = "default"
    state: RolloutState = RolloutState.RUNNING
    cause: Cause = Cause.NONE
    wave: int = 0
    reason: str = ""
    created_us: int = 0
    changed_us: int = 0
    joined_us: int = 0
    """When it was last asked who else is selected by now."""

    def in_wave(self, wave: int) -> tuple[Member, ...]:
        """The members of a wave that take part."""
        return tuple(each for each in self.members if each.wave == wave and each.state is not MemberState.EXCLUDED)

    @property
    def waves(self) -> int:
        """How many waves there are."""
        return max((each.wave for each in self.members if each.state is not MemberState.EXCLUDED), default=-1) + 1


class Refused(msgspec.Struct, frozen=True):
    """What a gateway said of a release it does not run: its step, the refusal's name and detail."""

    step: str
    refusal: str
    detail: str = ""
    by_name: bool = True
    """Whether it named the release; what could not be trusted at all names none."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one member now. `totals` are all verdicts of the pipeline by the digest that gave them.

    `latencies_us` are of the release since its assignment, `before_us` of the one of before until then.
    """

    running: Target | None = None
    totals: Mapping[str, Verdicts] = {}
    last_batch: int = 0
    latencies_us: tuple[int, ...] = ()
    before_us: tuple[int, ...] = ()
    step: str = ""
    refused: Refused | None = None
    superseded: int = 0


Reports: TypeAlias = Mapping[Key, Report]


class Assign(msgspec.Struct, frozen=True):
    """Have the director name these releases for these pipelines of a gateway; None: name none any more."""

    gateway: str
    targets: Mapping[str, Target | None]
    reason: str


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was decided, in words, and the figures it was decided by."""

    text: str
    wave: int
    gateway: str = ""
    pipeline: str = ""
    detail: Mapping[str, str] = {}


Command: TypeAlias = Assign | Decision
