"""Whether a window of a signal can be what a living sensor measured: dead, stuck, clipped.

A look comes in, a reason goes out; it remembers nothing. Values that are no numbers never get here.
"""

import numpy as np
import numpy.typing as npt

from edge_agent.sample import Look
from edge_agent.settings import Guard as Settings
from edge_protocol.codes import Reason

Window = npt.NDArray[np.float64]


class WindowGuard:
    """The limits for one pipeline's windows."""

    def __init__(self, settings: Settings, axes: int = 1) -> None:
        """`axes` is how many rows of an input are sensors of their own; speed and load follow them, and may rest."""
        self._settings = settings
        self._axes = axes

    def check(self, look: Look) -> Reason:
        """Why this window is not to be trusted, the plainest reason of its first sick sensor."""
        signals = look.values[: self._axes] if look.values.ndim > 1 else (look.values,)
        reasons = (self._sense(signal) for signal in signals)
        return next((reason for reason in reasons if reason is not Reason.NONE), Reason.NONE)

    def _sense(self, signal: Window) -> Reason:
        if signal.size < 2:
            return Reason.NONE
        # Nothing that lives is constant to the last bit.
        low, high = float(signal.min()), float(signal.max())
        if low == high or (self._settings.dead_below and float(signal.std()) < self._settings.dead_below):
            return Reason.DEAD
        if self._settings.stuck_above < 1 and longest_run(signal) > self._settings.stuck_above * signal.size:
            return Reason.STUCK
        if self._settings.clipped_above < 1 and self._clipped(signal, low, high) > self._settings.clipped_above:
            return Reason.CLIPPED
        return Reason.NONE

    def _clipped(self, signal: Window, low: float, high: float) -> float:
        floor, ceiling = self._settings.range or (low, high)
        at_limit = np.count_nonzero(signal <= floor) + np.count_nonzero(signal >= ceiling)
        return float(at_limit) / signal.size


def longest_run(signal: Window) -> int:
    """How many equal values in a row there are at most."""
    changes = np.flatnonzero(signal[1:] != signal[:-1])
    ends = np.concatenate(([-1], changes, [signal.size - 1]))
    return int(np.diff(ends).max())
