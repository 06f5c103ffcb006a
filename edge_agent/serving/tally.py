"""How often a model was asked by neighbours and how long it took, as the protocol's extension `statistics` tells it."""

import threading
from dataclasses import dataclass, field
from time import perf_counter_ns, time_ns
from typing import Any

STAGES = ("queue", "compute_input", "compute_infer", "compute_output")


@dataclass(slots=True)
class Tally:
    """Counts of one model. Safe to use from every thread."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*STAGES, "success", "fail"), 0))
    spent_ns: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*STAGES, "success", "fail"), 0))
    last_ms: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, lap: "Lap", *, ok: bool) -> None:
        """One more question."""
        whole = perf_counter_ns() - lap.begun_ns
        with self._lock:
            self.last_ms = time_ns() // 1_000_000
            for name, spent in [*lap.spent_ns.items(), ("success" if ok else "fail", whole)]:
                self.counts[name] += 1
                self.spent_ns[name] += spent

    def told(self, name: str, version: str) -> dict[str, Any]:
        """As JSON is made of."""
        with self._lock:
            found = {each: {"count": self.counts[each], "ns": self.spent_ns[each]} for each in self.counts}
            return {
                "name": name,
                "version": version,
                "last_inference": self.last_ms,
                "inference_count": self.counts["success"],
                "execution_count": self.counts["success"],
                "inference_stats": found,
                "batch_stats": [],
            }


class Lap:
    """One question on its way: the time since the last `mark` belongs to the stage that is named."""

    def __init__(self) -> None:
        self.begun_ns = self._last_ns = perf_counter_ns()
        self.spent_ns: dict[str, int] = {}

    def mark(self, stage: str) -> None:
        """This stage ends now."""
        now = perf_counter_ns()
        self.spent_ns[stage] = now - self._last_ns
        self._last_ns = now

    @property
    def whole_s(self) -> float:
        """Since it came in."""
        return (perf_counter_ns() - self.begun_ns) / 1e9
