"""What says that a part is there, apart from what delivers its sample. Times are monotonic microseconds, handed in.

`poll` answers with a `Tick` when a part is due and `idle_s` with how long to wait before asking again; neither waits.
"""

from dataclasses import dataclass
from typing import Protocol

from edge_agent.settings import SourceTrigger as SourceSettings
from edge_agent.settings import TimerTrigger as TimerSettings
from edge_agent.sources.source import Source

WAIT_S = 0.25
"""Longest wait to answer with: a thread that waits for a slow timer still hears that it shall stop."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A part is there since `due_us`. `missed` ticks before it found nobody asking.

    `part`, `product` and `lot` are what the line calls it, if it says so with the tick, and `number` is the line's own
    count of parts; a sample's own words go first.
    """

    due_us: int
    missed: int = 0
    part: str = ""
    product: str = ""
    lot: str = ""
    number: int | None = None


class Ticker(Protocol):
    """Says when a part is there."""

    def poll(self, mono_us: int) -> Tick | None:
        """The tick that is due, or None.

        Raises:
            SourceError: the source that is asked has gone away.
        """

    def idle_s(self, mono_us: int) -> float:
        """How long nothing will be due, at most `WAIT_S`."""

    def close(self) -> None:
        """Let go of what it listens to. May be called twice; asked again, it listens again."""


class TimerTrigger:
    """A part at a fixed rate. The n-th tick is due at start + n / rate, rounded once: lateness does not add up."""

    def __init__(self, settings: TimerSettings) -> None:
        self._rate_hz = settings.rate_hz
        self._start_us: int | None = None
        self._n = 0

    def poll(self, mono_us: int) -> Tick | None:
        """The latest tick that is due, with the number of those before it that were missed."""
        if self._start_us is None:
            self._start_us = mono_us
        if mono_us < self._due_us(self._n):
            return None
        first = self._n
        latest = max(first, int((mono_us - self._start_us) * self._rate_hz / 1e6) - 1)
        while self._due_us(latest + 1) <= mono_us:
            latest += 1
        self._n = latest + 1
        return Tick(self._due_us(latest), latest - first)

    def idle_s(self, mono_us: int) -> float:
        """The time until the next tick."""
        if self._start_us is None:
            return 0.0
        return min(max((self._due_us(self._n) - mono_us) / 1e6, 0.0), WAIT_S)

    def close(self) -> None:
        """A timer listens to nobody."""

    def _due_us(self, n: int) -> int:
        return (self._start_us or 0) + round(n * 1e6 / self._rate_hz)


class SourceTrigger:
    """A part whenever its source has one. Looks come at an even pace, however long the part between them takes."""

    def __init__(self, settings: SourceSettings, source: Source) -> None:
        self._poll_us = round(min(settings.poll_s, WAIT_S) * 1e6)
        self._source = source
        self._had_one = False
        self._next_us = 0

    def poll(self, mono_us: int) -> Tick | None:
        """A tick now, if the source has something."""
        self._had_one = self._source.waiting(mono_us)
        if mono_us >= self._next_us:
            self._next_us = mono_us + self._poll_us
        return Tick(mono_us) if self._had_one else None

    def idle_s(self, mono_us: int) -> float:
        """Nothing while the source keeps having something, else the time until the next look."""
        return 0.0 if self._had_one else max(self._next_us - mono_us, 0) / 1e6

    def close(self) -> None:
        """The source is closed by whoever opened it."""
