"""The hub's time, handed to whoever needs it, so that a test can hold it in its hand."""

import time
from typing import Protocol


class Clock(Protocol):
    """What tells the time."""

    def wall_us(self) -> int:
        """UTC in microseconds."""


class SystemClock:
    """The machine's own clock."""

    def wall_us(self) -> int:
        """UTC in microseconds."""
        return time.time_ns() // 1000


class FixedClock:
    """A clock that moves only when it is told to."""

    def __init__(self, at_us: int = 1_767_225_600_000_000) -> None:
        self.at_us = at_us

    def wall_us(self) -> int:
        """UTC in microseconds, as last set."""
        return self.at_us

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.at_us += round(seconds * 1_000_000)
