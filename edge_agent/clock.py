"""Time: the system's two clocks come in; UTC microseconds that never jump within a run go out, each run with an anchor.

A run ends when the process does or when the system's wall clock steps; the floor is the latest time this gateway has
good reason to believe in. Never stops the line: a clock below the floor is marked, not refused.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from edge_protocol.codes import ClockState
from edge_protocol.messages import Time

BUILD_US = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z: no gateway with this software has seen an earlier moment."""

STEP_US = 1_000_000
"""A wall clock further than this from the run's own time was set; a slower drift begins a new run now and then."""

SKEW_US = 60_000_000
"""Two honest clocks may differ by this much: only what is further below the floor is behind."""

REACH_US = 400 * 86_400_000_000
"""The gateway's own clock lifts the floor by no more than this: one glitch to 2099 must not mark all that follows."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """The id of this boot of the machine, as the kernel gives it; another one after each power cut."""
    return _BOOT_ID.read_text("ascii").strip()


def system_wall_us() -> int:
    """The system's UTC time, whatever it is worth."""
    return time.time_ns() // 1000


def system_mono_us() -> int:
    """Time since boot, suspended time included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


class Clock:
    """The gateway's time, given to everything that needs one. Safe to use from every thread."""

    def __init__(
        self,
        *,
        wall: Callable[[], int] = system_wall_us,
        mono: Callable[[], int] = system_mono_us,
        boot: str | None = None,
        floor_us: int = BUILD_US,
    ) -> None:
        self._wall = wall
        self._mono = mono
        self._boot = boot_id() if boot is None else boot
        self._floor_us = max(floor_us, BUILD_US)
        self._lock = threading.Lock()
        self._anchor = self._make_anchor(1)

    @property
    def floor_us(self) -> int:
        """The latest time that has surely passed."""
        return self._floor_us

    def wall_us(self) -> int:
        """UTC now, by the anchor of the current run."""
        anchor = self._anchor
        return anchor.wall_us + self._mono() - anchor.mono_us

    def mono_us(self) -> int:
        """Time since boot."""
        return self._mono()

    def time(self) -> Time:
        """The anchor of the current run; begins a new run first if the wall clock was set or the floor overtook it."""
        with self._lock:
            now_us = self._wall()
            stepped = abs(now_us - self.wall_us()) > STEP_US
            if stepped or self.state_of(now_us) is not self._anchor.clock:
                self._anchor = self._make_anchor(self._anchor.run + 1)
            elif self._anchor.clock is ClockState.OK and now_us - self._floor_us < REACH_US:
                self.raise_floor(now_us)
            return self._anchor

    def raise_floor(self, us: int) -> None:
        """Take note that `us` has passed, as the hub or a good clock says. The floor never sinks."""
        self._floor_us = max(self._floor_us, us)

    def resume(self, run: int, floor_us: int) -> None:
        """Go on after run `run` of earlier processes, with the floor they left."""
        self.raise_floor(floor_us)
        self._anchor = self._make_anchor(run + 1)

    def state_of(self, wall_us: int) -> ClockState:
        """What a wall time is worth, by the floor."""
        return ClockState.BEHIND if wall_us < self._floor_us - SKEW_US else ClockState.OK

    def _make_anchor(self, run: int) -> Time:
        wall_us, mono_us = self._wall(), self._mono()
        return Time(self._boot, run, wall_us, mono_us, self.state_of(wall_us))


class FixedClock(Clock):
    """A clock that moves only when it is told to, for replays and tests."""

    def __init__(self, wall_us: int = BUILD_US + 86_400_000_000, boot: str = "boot-1") -> None:
        self.system_wall_us = wall_us
        self.system_mono_us = 1_000_000
        super().__init__(wall=lambda: self.system_wall_us, mono=lambda: self.system_mono_us, boot=boot)

    def advance(self, us: int) -> None:
        """Let time pass."""
        self.system_wall_us += us
        self.system_mono_us += us

    def step(self, us: int) -> None:
        """Set the wall clock, as NTP or a hand does."""
        self.system_wall_us += us
