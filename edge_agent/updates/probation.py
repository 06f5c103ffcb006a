"""What a new model does on the line comes in as judgements, the ruling goes out: not yet, kept, or why it must go.

Pure but for its own counters: time is given. Enough verdicts and enough time are both needed to stand it.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.judgement import Judgement
from edge_agent.updates.ledger import Problem
from edge_protocol.codes import Reason, Verdict
from edge_protocol.updates import Refusal

FAULTS = 3
"""So many failures of the engine are no accident."""

SHARE = 0.05
LEAST_FOR_SHARE = 40
LEAST_FOR_LATENCY = 100
LATENCIES = 1000
"""The last so many are looked at."""

SILENCE_US = 5_000_000
"""The judging thread has not come back from the model for so long, after its silence was noticed."""

SLOWER = 1.5
"""So many times the model before is slower than chance and a busy machine explain."""

_OF_ENGINE = frozenset((Reason.ENGINE_FAULT, Reason.NO_MODEL))
_OF_MODEL = _OF_ENGINE | {Reason.NOT_FINITE}


@dataclass(frozen=True, slots=True)
class Terms:
    """What a model must stand: verdicts and time, and the latency of its budget.

    `before_ms` is the p99 of the model before it on the same line: where the machine is slow, it is slow for both.
    """

    verdicts: int
    time_us: int
    latency_ms: float
    before_ms: float = 0.0

    @property
    def limit_ms(self) -> float:
        """The p99 above which it goes."""
        return max(self.latency_ms, SLOWER * self.before_ms)


class Probation:
    """The counters of one model on one pipeline. `add` belongs to any thread, `rule` to one."""

    def __init__(self, digest: str, terms: Terms, began_us: int) -> None:
        """`began_us` on the monotonic clock."""
        self.digest = digest
        self._terms = terms
        self._began_us = began_us
        self._silent_since_us: int | None = None
        self._judged = 0
        self._of_engine = 0
        self._of_model = 0
        self._latencies_us: list[int] = []
        self._lock = threading.Lock()

    def add(self, judgement: Judgement) -> None:
        """Count what the line was told; what another model judged is not counted."""
        if judgement.context.digest.hex() != self.digest:
            return
        with self._lock:
            self._of_engine += judgement.reason in _OF_ENGINE
            self._of_model += judgement.reason in _OF_MODEL
            if judgement.verdict is not Verdict.UNINSPECTED:
                self._judged += 1
                self._latencies_us.append(judgement.latency_us)
                del self._latencies_us[:-LATENCIES]

    def rule(self, now_us: int, *, is_silent: bool) -> Problem | bool:
        """A problem: it has to go. True: it has stood it. False: not yet."""
        self._silent_since_us = (self._silent_since_us or now_us) if is_silent else None
        with self._lock:
            problem = self._problem(now_us)
            is_enough = self._judged >= self._terms.verdicts and now_us - self._began_us >= self._terms.time_us
        return problem if problem is not None else is_enough

    def _problem(self, now_us: int) -> Problem | None:
        counted = self._judged + self._of_model
        if self._of_engine >= FAULTS:
            return _unstable(f"the model failed {self._of_engine} times in {counted} parts")
        if counted >= LEAST_FOR_SHARE and self._of_model > SHARE * counted:
            return _unstable(f"{self._of_model} of {counted} parts could not be inspected because of the model")
        if self._silent_since_us is not None and now_us - self._silent_since_us >= SILENCE_US:
            return _unstable("the thread that judges does not come back from the model")
        enough = min(LEAST_FOR_LATENCY, self._terms.verdicts)
        latency_ms = p99_ms(self._latencies_us)
        if len(self._latencies_us) >= enough and latency_ms > self._terms.limit_ms:
            before = f", the model before had {self._terms.before_ms:.0f} ms" if self._terms.before_ms else ""
            return _unstable(f"p99 {latency_ms:.0f} ms, its budget is {self._terms.latency_ms:.0f} ms{before}")
        return None


def p99_ms(latencies_us: Sequence[int]) -> float:
    """What one in a hundred exceeds; 0 of nothing."""
    ordered = sorted(latencies_us)
    return ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))] / 1000 if ordered else 0.0


def _unstable(detail: str) -> Problem:
    return Problem(Refusal.UNSTABLE, detail)
