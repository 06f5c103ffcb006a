from edge_agent.clock import BUILD_US, REACH_US, SKEW_US, Clock, FixedClock, boot_id
from edge_protocol.codes import ClockState

HOUR_US = 3_600_000_000
YEAR_US = 365 * 24 * HOUR_US


def test_wall_time_never_jumps_within_a_run():
    """
    Between two anchors wall time is the anchor and the monotonic clock, whatever is done to the system's clock.
    """
    clock = FixedClock()
    before = clock.time()

    clock.advance(HOUR_US)
    clock.step(-YEAR_US)

    assert clock.wall_us() == before.wall_us + HOUR_US


def test_a_step_of_the_system_clock_begins_a_new_run():
    """
    A wall clock that was set by more than a second gives the next run its anchor.
    """
    clock = FixedClock()
    before = clock.time()

    clock.step(5_000_000)
    after = clock.time()

    assert after.run == before.run + 1
    assert after.wall_us == before.wall_us + 5_000_000
    assert clock.wall_us() == after.wall_us


def test_a_small_correction_stays_within_the_run():
    """
    What NTP slews is not a new run.
    """
    clock = FixedClock()
    before = clock.time()

    clock.step(400_000)

    assert clock.time() == before


def test_a_clock_below_the_floor_runs_and_is_marked():
    """
    A gateway whose clock says 1970 has a time all the same, and says what it is worth.
    """
    clock = FixedClock(wall_us=1_000_000)

    assert clock.time().clock is ClockState.BEHIND
    assert clock.wall_us() == 1_000_000


def test_a_clock_that_is_set_right_is_no_longer_marked():
    """
    The mark is the run's: the run that begins when the clock is set is a good one.
    """
    clock = FixedClock(wall_us=1_000_000)

    clock.step(BUILD_US + HOUR_US)

    assert clock.time().clock is ClockState.OK


def test_a_floor_that_overtakes_the_clock_begins_a_marked_run():
    """
    When the hub knows a later time than the gateway, what follows is marked.
    """
    clock = FixedClock()
    before = clock.time()

    clock.raise_floor(before.wall_us + HOUR_US)
    after = clock.time()

    assert (before.clock, after.clock) == (ClockState.OK, ClockState.BEHIND)
    assert after.run == before.run + 1


def test_two_honest_clocks_may_differ():
    """
    A floor that is less than the allowed skew ahead marks nothing.
    """
    clock = FixedClock()

    clock.raise_floor(clock.wall_us() + SKEW_US)

    assert clock.time().clock is ClockState.OK


def test_the_floor_never_sinks():
    """
    Neither an earlier time nor the state of an earlier process lowers the floor.
    """
    clock = FixedClock()
    clock.raise_floor(BUILD_US + YEAR_US)

    clock.raise_floor(BUILD_US)
    clock.resume(run=4, floor_us=0)

    assert clock.floor_us == BUILD_US + YEAR_US


def test_good_time_raises_the_floor():
    """
    A clock that runs well carries the floor along.
    """
    clock = FixedClock()

    clock.advance(HOUR_US)
    clock.time()

    assert clock.floor_us == clock.wall_us()


def test_a_glitch_into_the_far_future_does_not_raise_the_floor():
    """
    A clock that suddenly says 2099 does not mark everything that follows.
    """
    clock = FixedClock()
    floor_us = clock.floor_us

    clock.step(REACH_US + YEAR_US)
    clock.time()
    clock.time()

    assert clock.floor_us == floor_us


def test_runs_go_on_counting_over_processes():
    """
    The first run of a process follows the last one that is on record.
    """
    clock = FixedClock()

    clock.resume(run=41, floor_us=0)

    assert clock.time().run == 42


def test_the_system_clock_knows_its_boot():
    """
    Without a clock of its own the gateway has the machine's, with the id of its boot.
    """
    clock = Clock()

    assert clock.time().boot == boot_id() != ""
    assert clock.mono_us() <= clock.mono_us()
