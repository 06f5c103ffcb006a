import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.errors import ConfigError
from edge_agent.sample import Trigger
from edge_agent.settings import FolderSource as FolderSettings
from edge_agent.settings import SourceTrigger as SourceSettings
from edge_agent.settings import TimerTrigger as TimerSettings
from edge_agent.sources.folder import LOOK_US, FolderSource
from edge_agent.sources.kinds import make_ticker
from edge_agent.sources.triggers import Tick, TimerTrigger

S = 1_000_000


def timer(rate_hz: float) -> TimerTrigger:
    """A timer that has not yet been asked."""
    return TimerTrigger(TimerSettings(name="t", rate_hz=rate_hz))


def test_a_timer_fires_at_its_rate() -> None:
    """Asked every millisecond for ten seconds, a timer of 20 Hz fires 200 times."""
    ticker = timer(20)

    ticks = [tick for ms in range(10_000) if (tick := ticker.poll(7 * S + ms * 1000))]

    assert len(ticks) == 200
    assert all(tick.missed == 0 for tick in ticks)


def test_lateness_does_not_add_up() -> None:
    """However late each tick is noticed, the n-th stays due at start + n / rate."""
    ticker = timer(30)
    at_us = 0
    dues: list[int] = []
    while len(dues) < 3001:
        tick = ticker.poll(at_us)
        if tick:
            dues.append(tick.due_us)
        at_us += 11_000

    assert dues[-1] == 100 * S
    assert all(later - earlier in (33_333, 33_334) for earlier, later in itertools.pairwise(dues))


def test_missed_ticks_are_told_and_not_made_up_for() -> None:
    """After a stall there is one tick, the latest, that says how many were missed: no burst."""
    ticker = timer(10)
    ticker.poll(0)

    after = [ticker.poll(1_050_000), ticker.poll(1_050_001), ticker.poll(1_100_000)]

    assert after == [Tick(1_000_000, missed=9), None, Tick(1_100_000)]


@given(st.floats(0.1, 1000), st.lists(st.integers(0, 3 * S), min_size=1, max_size=60))
def test_each_tick_is_fired_or_counted_as_missed(rate_hz: float, steps: list[int]) -> None:
    """Fired plus missed is the number of periods begun, for any rate and any rhythm of asking."""
    ticker = timer(rate_hz)
    now, fired, missed = 0, 0, 0
    for step in [0, *steps]:
        now += step
        tick = ticker.poll(now)
        if tick:
            fired, missed = fired + 1, missed + tick.missed

    due = next(n for n in range(int(now * rate_hz / 1e6) + 3) if round(n * 1e6 / rate_hz) > now)
    assert fired + missed == due


def test_a_timer_says_how_long_to_wait() -> None:
    """Waiting as told meets the next tick, and a slow timer does not keep a thread from stopping."""
    ticker, slow = timer(20), timer(0.1)
    ticker.poll(0)
    slow.poll(0)

    waits = [ticker.idle_s(10_000), ticker.idle_s(60_000), slow.idle_s(0)]

    assert waits == [0.04, 0.0, 0.25]


def test_a_source_trigger_fires_while_its_source_has_something(tmp_path: Path) -> None:
    """One tick for each file that waits, then none."""
    folder = FolderSource(FolderSettings(name="camera", path=tmp_path, settle_s=0))
    folder.open()
    ticker = make_ticker(SourceSettings(name="t", source="camera", poll_s=0.1), {"camera": folder})

    empty = (ticker.poll(0), ticker.idle_s(0))
    (tmp_path / "a.png").write_bytes(b"x")
    full = (ticker.poll(LOOK_US), ticker.idle_s(LOOK_US))

    assert empty == (None, 0.1)
    assert full == (Tick(LOOK_US), 0.0)


def test_looks_come_at_an_even_pace(tmp_path: Path) -> None:
    """A part that took half of the pause leaves the other half of it: the next part is seen when it was due."""
    folder = FolderSource(FolderSettings(name="camera", path=tmp_path, settle_s=0))
    folder.open()
    ticker = make_ticker(SourceSettings(name="t", source="camera", poll_s=0.1), {"camera": folder})
    (tmp_path / "a.png").write_bytes(b"x")
    assert ticker.poll(S) is not None
    folder.grab(Trigger(1, 1, 0, S))

    after = (ticker.poll(S + 40_000), ticker.idle_s(S + 40_000))

    assert after == (None, 0.06)


def test_a_trigger_of_no_source_is_refused() -> None:
    """A trigger cannot ask a source that is not there."""
    with pytest.raises(ConfigError, match="there is no source 'camera'"):
        make_ticker(SourceSettings(name="t", source="camera"), {})
