"""Panes of counters come in, findings of drift go out, with the hub's own functions and without the hub.

A window is the latest panes that hold enough samples: two full ones. Never alarms: it says what it found.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edge_protocol.codes import FindingState
from edge_protocol.counters import Counts, Reference, SignalReference
from edge_protocol.messages import Pane
from edge_protocol.statistics import MIN_COUNT, Finding, compare

MAX_PANES = 64
"""Panes in one window at most: a line so slow that these hold too few samples is `insufficient`, and says so."""


@dataclass(frozen=True, slots=True)
class Window:
    """What was found in one stretch of samples, per signal of the reference."""

    opened_us: int
    closed_us: int
    n: int
    findings: dict[str, Finding]

    @property
    def drifting(self) -> tuple[str, ...]:
        """The signals that have drifted."""
        return tuple(name for name, found in self.findings.items() if found.state is FindingState.DRIFT)


class DriftWatch:
    """The latest panes of one pipeline under one bundle, judged at each new one."""

    def __init__(self, reference: Reference, *, window_rows: int = MIN_COUNT) -> None:
        self._reference = reference
        self._window_rows = window_rows
        self._panes: deque[Pane] = deque(maxlen=MAX_PANES)
        self.latest: Window | None = None
        """What the panes so far say; None before the first."""

    def add(self, pane: Pane) -> Window:
        """Judge the window that ends with `pane`."""
        self._panes.append(pane)
        while sum(kept.n for kept in self._panes) - self._panes[0].n >= self._window_rows:
            self._panes.popleft()
        self.latest = judge(self._reference, tuple(self._panes), min_count=self._window_rows)
        return self.latest


def judge(reference: Reference, panes: Sequence[Pane], *, min_count: int = MIN_COUNT) -> Window:
    """What `panes`, taken as one window, say against `reference`.

    A pane of another reference, or one whose counts do not fit, makes its signals an integrity fault.
    """
    digest, n = reference.digest, sum(pane.n for pane in panes)
    findings = {}
    for signal in reference.signals:
        live = _merge(signal, panes) if all(pane.reference == digest for pane in panes) else None
        fault = Finding(FindingState.INTEGRITY_FAULT, n)
        findings[signal.name] = fault if live is None else _find(signal, live, min_count)
    return Window(_first(pane.opened_us for pane in panes), max((p.closed_us for p in panes), default=0), n, findings)


def _find(signal: SignalReference, live: Counts, min_count: int) -> Finding:
    return compare(np.array(signal.counts, np.int64), live, min_count=min_count)


def _merge(signal: SignalReference, panes: Iterable[Pane]) -> Counts | None:
    """The counts of all panes together; None where one does not fit."""
    total = np.zeros(len(signal.counts), np.int64)
    for pane in panes:
        counts = np.array(pane.counts.get(signal.name, ()), np.int64)
        if counts.shape != total.shape or counts.min() < 0 or counts.sum() != pane.n:
            return None
        total += counts
    return total


def _first(times_us: Iterable[int]) -> int:
    return min(times_us, default=0)
