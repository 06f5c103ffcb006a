"""Judgements that are on record come in; panes for the hub, local findings and latencies come out, per pipeline.

A pane never mixes two bundles: another digest cuts it. Never records anything itself.
"""

import threading
from collections.abc import Sequence

from edge_agent.judgement import Judgement
from edge_agent.monitoring.findings import DriftWatch, Window
from edge_agent.monitoring.latency import Latency
from edge_agent.monitoring.panes import PaneCounter
from edge_protocol.codes import Verdict
from edge_protocol.counters import Reference
from edge_protocol.messages import Pane


class Watch:
    """What is watched of one pipeline. Safe to use from every thread."""

    def __init__(self, pipeline: str, *, pane_rows: int, pane_s: float) -> None:
        self.pipeline = pipeline
        self.latency = Latency()
        self._pane_rows = pane_rows
        self._pane_s = pane_s
        self._bundle = ""
        self._counter: PaneCounter | None = None
        self._drift: DriftWatch | None = None
        self._lock = threading.Lock()

    def begin(self, bundle: str, reference: Reference | None) -> Pane | None:
        """From here on samples belong to `bundle` (its digest); the pane that this closes, if any."""
        with self._lock:
            pane = self._cut()
            self._bundle = bundle
            counter = None
            if reference is not None:
                counter = PaneCounter(reference, self.pipeline, bundle, n_max=self._pane_rows, age_s=self._pane_s)
            self._counter = counter
            self._drift = DriftWatch(reference) if reference is not None else None
            return pane

    def add(self, judgements: Sequence[Judgement]) -> list[Pane]:
        """Count judged samples; the panes that this closes. What was not inspected is no sample."""
        panes: list[Pane | None] = []
        with self._lock:
            for judgement in judgements:
                self.latency.add(judgement.latency_us)
                is_mine = judgement.context.digest.hex() == self._bundle
                if self._counter is not None and is_mine and judgement.verdict is not Verdict.UNINSPECTED:
                    panes.append(self._judged(self._counter.add(judgement.signals, judgement.trigger.at_us)))
        return [pane for pane in panes if pane is not None]

    def expire(self, now_us: int) -> Pane | None:
        """The open pane, if it has reached its age."""
        with self._lock:
            return self._judged(self._counter.expire(now_us)) if self._counter is not None else None

    def cut(self) -> Pane | None:
        """Close the open pane, because the agent stops."""
        with self._lock:
            return self._cut()

    @property
    def latest(self) -> Window | None:
        """What was found last; None before the first pane."""
        with self._lock:
            return self._drift.latest if self._drift is not None else None

    def _cut(self) -> Pane | None:
        return self._judged(self._counter.cut()) if self._counter is not None else None

    def _judged(self, pane: Pane | None) -> Pane | None:
        if pane is not None and self._drift is not None:
            self._drift.add(pane)
        return pane
