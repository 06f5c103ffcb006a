"""The closed, numbered words of the protocol. Numbers are never reused; an unknown number is archived as it came."""

from collections.abc import Iterable
from enum import IntEnum, StrEnum


class Verdict(IntEnum):
    """What is said of a part. There is no fifth."""

    OK = 0
    NG = 1
    REVIEW = 2
    UNINSPECTED = 3


_SEVERITY = {Verdict.OK: 0, Verdict.REVIEW: 1, Verdict.UNINSPECTED: 2, Verdict.NG: 3}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """A part's verdict over its pipelines: NG beats UNINSPECTED beats REVIEW beats OK; no verdict is UNINSPECTED."""
    return max(verdicts, key=_SEVERITY.__getitem__, default=Verdict.UNINSPECTED)


class Reason(IntEnum):
    """Why a verdict is what it is. 1-99: judged; 100-199: the input; 200-299: the agent."""

    NONE = 0
    SCORE_REJECT = 1
    SCORE_REVIEW = 2
    UNREADABLE = 100
    BLACK = 101
    FROZEN = 102
    WRONG_SHAPE = 103
    NOT_FINITE = 104
    SOURCE_FAULT = 105
    GLARE = 106
    BLUR = 107
    COLOUR_SHIFT = 108
    MISPLACED = 109
    DUPLICATE = 110
    STUCK = 111
    CLIPPED = 112
    DEAD = 113
    GAP = 114
    TIME_WENT_BACK = 115
    OVERLOAD = 200
    LATE = 201
    NO_MODEL = 202
    ENGINE_FAULT = 203
    INTERRUPTED = 204
    SKIPPED = 205
    QUARANTINED = 206


class Stream(StrEnum):
    """Streams of the outbox, first the one that is sent first and shed last."""

    EVENTS = "events"
    VERDICTS = "verdicts"
    DRIFT = "drift"
    OUTCOMES = "outcomes"
    METRICS = "metrics"
    CAPTURES = "captures"


class ClockState(StrEnum):
    """What the gateway thinks of its own wall clock. A state that is not known here is taken for `BEHIND`."""

    OK = "ok"
    BEHIND = "behind"
    """Earlier than a time this gateway has already seen: the wall time of such records is not to be trusted."""

    @classmethod
    def _missing_(cls, value: object) -> "ClockState | None":
        return cls.BEHIND if isinstance(value, str) else None


class FindingState(StrEnum):
    """What a comparison of live counters with the reference came to."""

    OK = "ok"
    INSUFFICIENT = "insufficient"
    REAL_BUT_SMALL = "real-but-small"
    DRIFT = "drift"
    INTEGRITY_FAULT = "integrity-fault"
