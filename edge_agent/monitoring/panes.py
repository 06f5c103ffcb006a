"""Signals of judged samples come in, exact counters go out: one pane for a few hundred samples.

Values wait in lists and are counted when the pane is cut, in one call per signal. Never judges: `findings` does.
"""

import math
from collections.abc import Mapping

from edge_protocol import counters
from edge_protocol.counters import Reference
from edge_protocol.messages import Pane

PANE_ROWS = 250
PANE_S = 300.0


class PaneCounter:
    """The open pane of one pipeline under one bundle. At another bundle, epoch or run of the clock `cut` it first."""

    def __init__(
        self, reference: Reference, pipeline: str, bundle: str, *, n_max: int = PANE_ROWS, age_s: float = PANE_S
    ) -> None:
        """`bundle` is the bundle's digest in hex; the reference is the one that came with it."""
        self._reference = reference
        self._reference_digest = reference.digest
        self._pipeline = pipeline
        self._bundle = bundle
        self._n_max = n_max
        self._age_us = round(age_s * 1e6)
        self._values: dict[str, list[float]] = {signal.name: [] for signal in reference.signals}
        self._n = 0
        self._opened_us = self._last_us = 0

    def add(self, signals: Mapping[str, float], at_us: int) -> Pane | None:
        """Count one judged sample; the pane that this closes, if any. A sample without signals is not counted.

        A signal of the reference that the sample lacks counts as not finite, so that every signal has `n` values.
        """
        if not signals:
            return None
        aged = self.expire(at_us)
        if not self._n:
            self._opened_us = at_us
        for name, values in self._values.items():
            values.append(signals.get(name, math.nan))
        self._n += 1
        self._last_us = at_us
        return self.cut() if self._n >= self._n_max else aged

    def expire(self, now_us: int) -> Pane | None:
        """The open pane, if it has reached its age or the clock went back; else None."""
        return None if not self._n or 0 <= now_us - self._opened_us < self._age_us else self.cut()

    def cut(self) -> Pane | None:
        """Close the open pane; None when nothing is in it."""
        if not self._n:
            return None
        pane = Pane(
            pipeline=self._pipeline,
            bundle=self._bundle,
            reference=self._reference_digest,
            opened_us=self._opened_us,
            closed_us=self._last_us,
            n=self._n,
            counts={s.name: tuple(self._count(s.edges, s.name)) for s in self._reference.signals},
        )
        for values in self._values.values():
            values.clear()
        self._n = 0
        return pane

    def _count(self, edges: tuple[float, ...], name: str) -> list[int]:
        counted: list[int] = counters.count(edges, self._values[name]).tolist()
        return counted
