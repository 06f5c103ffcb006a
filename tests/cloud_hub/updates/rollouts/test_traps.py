"""The traps of hawkBit's rollout engine (field/fleet.md §2.1), each excluded."""

import pytest
from msgspec.structs import replace

from cloud_hub.updates.rollouts import control
from cloud_hub.updates.rollouts.plan import Action, MemberState, RolloutState, Threshold
from cloud_hub.updates.rollouts.tick import is_reached
from edge_protocol.updates import Step
from tests.cloud_hub.updates.rollouts.fleets import (
    LATE_US,
    NEW,
    OLD,
    PLAN,
    REFUSED,
    SILENT,
    SOON_US,
    all_of,
    given,
    look,
    rollout,
    states,
    with_action,
)

ASSIGNED, UPDATED, FAILED, UNKNOWN = (
    MemberState.ASSIGNED, MemberState.UPDATED, MemberState.FAILED, MemberState.UNKNOWN
)  # fmt: skip


def test_trap_a_completion_alone_never_advances() -> None:
    """
    A wave in which all are through and too few are updated starts no other, though no threshold is reached.
    """
    plan = replace(PLAN, failure=Threshold(percent=80.0), unknown=Threshold())
    failed = {f"g{i:02}": FAILED for i in range(7)}
    updated = {f"g{i:02}": UPDATED for i in range(7, 10)}
    found = given(rollout(10, 5, plan=plan), **failed, **updated)

    after, assigned = look(found, {})

    assert (after.state, after.wave, assigned) == (RolloutState.PAUSED, 0, [])
    assert "3 of 10 updated, 90 % are needed" in after.reason


def test_trap_a_all_failed_and_nothing_asked_still_stops() -> None:
    """
    Without any threshold and with no success asked for, a wave without one updated member starts no other.
    """
    plan = replace(PLAN, failure=Threshold(), unknown=Threshold(), success_percent=0.0)
    found = given(rollout(2, 5, plan=plan), g00=FAILED, g01=UNKNOWN)

    after, assigned = look(found, {})

    assert (after.state, assigned) == (RolloutState.PAUSED, [])


@pytest.mark.parametrize(
    ("threshold", "n", "total", "reached"),
    [
        (Threshold(percent=100.0), 10, 10, True),
        (Threshold(percent=100.0), 9, 10, False),
        (Threshold(percent=50.0), 5, 10, True),
        (Threshold(percent=0.0), 0, 10, False),
        (Threshold(percent=0.0), 1, 10, True),
        (Threshold(count=2), 2, 1000, True),
        (Threshold(count=2), 1, 1, False),
        (Threshold(count=2, percent=50.0), 1, 2, True),
        (Threshold(count=2, percent=50.0), 2, 1000, True),
        (Threshold(), 10, 10, False),
    ],
)
def test_traps_b_and_c_thresholds_are_numbers_and_shares(
    threshold: Threshold, n: int, total: int, *, reached: bool
) -> None:
    """
    A threshold is reached at its number: 100 % by all. A count is a count and a share is a share.
    """
    assert is_reached(threshold, n, total) is reached


def test_trap_b_all_failed_reach_a_hundred_percent() -> None:
    """
    A rollout that bears everything but a total failure stops at a total failure.
    """
    plan = replace(with_action(Action.STOP), failure=Threshold(percent=100.0))
    found = given(rollout(2, 2, plan=plan), g00=FAILED, g01=FAILED)

    after, _ = look(found, {})

    assert after.state is RolloutState.STOPPED
    assert "2 of 2 failed, limit 100 %" in after.reason


def test_trap_c_a_count_is_not_a_percentage() -> None:
    """
    Two of a thousand reach a count of two.
    """
    plan = replace(PLAN, failure=Threshold(count=2))
    found = given(rollout(1000, plan=plan), g00=FAILED, g01=FAILED)

    assert look(found, {})[0].state is RolloutState.PAUSED


def test_trap_d_silence_gets_a_verdict() -> None:
    """
    Who says nothing holds a wave no longer than the deadline, is unknown then, and has a threshold of its own.
    """
    found = given(rollout(2, 2), g00=UPDATED, g01=ASSIGNED)

    before, _ = look(found, {("g01", "seal"): SILENT}, LATE_US - 1)
    after, assigned = look(found, {("g01", "seal"): SILENT}, LATE_US)

    assert (before.state, before.wave) == (RolloutState.RUNNING, 0)
    assert (after.state, states(after)["g01"], assigned) == (RolloutState.PAUSED, UNKNOWN, [])
    assert "1 of 2 unknown, limit 20 %" in after.reason


def test_trap_e_resume_tries_the_failed_wave_again() -> None:
    """
    After a failure, resuming gives the release to the members that failed and to nobody of the next wave.
    """
    found = given(rollout(3, 3), g00=UPDATED, g01=ASSIGNED, g02=UNKNOWN)
    paused, _ = look(found, {("g01", "seal"): REFUSED})

    resumed = control.resume(paused, "the lamp was off", SOON_US)
    after, assigned = look(resumed, all_of(found.members, SILENT))

    assert [each.gateway for each in assigned] == ["g01", "g02"]
    assert (after.wave, after.state) == (0, RolloutState.RUNNING)
    assert [each.attempt for each in after.members] == [1, 2, 2, 0, 0, 0]
    assert after.members[1].previous == OLD


def test_trap_f_finished_is_what_was_measured() -> None:
    """
    Gateways that report every step of an update and judge nothing with it never finish a rollout.
    """
    found = given(rollout(1), g00=ASSIGNED)
    kept = replace(SILENT, step=Step.KEPT, running=NEW)

    soon, _ = look(found, all_of(found.members, kept))
    late, _ = look(found, all_of(found.members, kept), LATE_US)

    assert (soon.state, states(soon)["g00"]) == (RolloutState.RUNNING, ASSIGNED)
    assert (late.state, states(late)["g00"]) == (RolloutState.PAUSED, UNKNOWN)
