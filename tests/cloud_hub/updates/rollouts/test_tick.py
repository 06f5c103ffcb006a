"""A rollout as a table: where it stands, what is known of its members → where it stands next, what is to be done."""

import pytest
from msgspec.structs import replace

from cloud_hub.updates.rollouts.plan import (
    Action,
    Assign,
    Cause,
    Decision,
    MemberState,
    Plan,
    Report,
    RolloutState,
)
from cloud_hub.updates.rollouts.tick import is_over, is_success, tick
from edge_protocol.updates import PASSING, Refusal, Step
from tests.cloud_hub.updates.rollouts.fleets import (
    LATE_US,
    NEW,
    OLD,
    PROVED,
    REFUSED,
    SILENT,
    SOON_US,
    START_US,
    all_of,
    given,
    look,
    report,
    rollout,
    states,
    with_action,
)

ASSIGNED, UPDATED, FAILED, UNKNOWN, PENDING = (
    MemberState.ASSIGNED, MemberState.UPDATED, MemberState.FAILED, MemberState.UNKNOWN, MemberState.PENDING
)  # fmt: skip


@pytest.mark.parametrize(
    ("told", "now_us", "state"),
    [
        (SILENT, SOON_US, ASSIGNED),
        (report(new=19), SOON_US, ASSIGNED),
        (PROVED, SOON_US, UPDATED),
        (report(new=100, uninspected=90), SOON_US, FAILED),
        (report(new=100, late=50), SOON_US, FAILED),
        (REFUSED, SOON_US, FAILED),
        (report(new=500, refusal="Unstable", step=Step.RETURNED), SOON_US, FAILED),
        (report(refusal="SomethingNew"), SOON_US, FAILED),
        (report(refusal="NotTrusted", by_name=False), SOON_US, ASSIGNED),
        (report(refusal="NotTrusted", by_name=False), LATE_US, UNKNOWN),
        (SILENT, LATE_US - 1, ASSIGNED),
        (SILENT, LATE_US, UNKNOWN),
        (report(new=19), LATE_US, UNKNOWN),
        (report(new=200, uninspected=12), LATE_US, UNKNOWN),
        (PROVED, LATE_US, UPDATED),
        (report(superseded=9), SOON_US, UNKNOWN),
        *((report(refusal=each), SOON_US, ASSIGNED) for each in sorted(PASSING)),
        *((report(refusal=each), LATE_US, FAILED) for each in sorted(PASSING)),
        *((report(refusal=each), SOON_US, FAILED) for each in Refusal if each not in PASSING),
    ],
)
def test_a_member_is_what_was_measured(told: Report, now_us: int, state: MemberState) -> None:
    """
    Evidence makes it updated, a refusal or a gate failed, the deadline unknown; passing refusals are waited out.
    """
    found = given(rollout(1), g00=ASSIGNED)

    after, _ = look(found, all_of(found.members, told), now_us)

    assert states(after) == {"g00": state}
    assert after.members[0].reason or state is ASSIGNED


@pytest.mark.parametrize(
    ("before", "told", "after"),
    [
        (UNKNOWN, PROVED, UPDATED),
        (UNKNOWN, REFUSED, FAILED),
        (UNKNOWN, SILENT, UNKNOWN),
        (UPDATED, report(new=900, refusal="Unstable", step=Step.RETURNED), FAILED),
        (UPDATED, report(new=900, uninspected=800), UPDATED),
        (FAILED, PROVED, FAILED),
        (MemberState.EXCLUDED, PROVED, MemberState.EXCLUDED),
        (MemberState.REVERTING, report(), MemberState.REVERTED),
        (MemberState.REVERTING, report(new=900, old=0), MemberState.REVERTING),
        (MemberState.REVERTED, PROVED, MemberState.REVERTED),
    ],
)
@pytest.mark.parametrize("end", [RolloutState.FINISHED, RolloutState.STOPPED, RolloutState.FAILED])
def test_what_comes_late_is_still_measured(
    before: MemberState, told: Report, after: MemberState, end: RolloutState
) -> None:
    """
    Who was silent may come back with either; what was updated may be given back; a rollout that is over stays so.
    """
    found = replace(given(rollout(1), g00=before), state=end)

    changed, assigned = look(found, all_of(found.members, told), LATE_US)

    assert states(changed) == {"g00": after}
    assert (changed.state, assigned) == (end, [])


def test_a_new_rollout_begins_with_its_first_wave() -> None:
    """
    Only the gateways of the first wave are assigned, all at once; what they ran and what it had judged is kept.
    """
    found = rollout(2, 3)

    after, assigned = look(found, all_of(found.members, SILENT))

    assert assigned == [Assign("g00", {"seal": NEW}, "wave 1"), Assign("g01", {"seal": NEW}, "wave 1")]
    assert list(states(after).values()) == [ASSIGNED, ASSIGNED, PENDING, PENDING, PENDING]
    first = after.members[0]
    assert (first.previous, first.before, first.since, first.assigned_us) == (OLD, {"OK": 1000}, 7, SOON_US)


def test_pipelines_of_a_gateway_are_assigned_together() -> None:
    """
    A gateway with two pipelines gets one assignment that names both.
    """
    found = rollout(1)
    found = replace(found, members=(*found.members, replace(found.members[0], pipeline="label")))

    _, assigned = look(found, all_of(found.members, SILENT))

    assert assigned == [Assign("g00", {"label": NEW, "seal": NEW}, "wave 1")]


def test_the_next_wave_follows_a_wave_that_succeeded() -> None:
    """
    When every member of a wave has a verdict and enough are updated, the next wave is assigned in the same look.
    """
    found = given(rollout(1, 2), g00=ASSIGNED)

    after, assigned = look(found, {("g00", "seal"): PROVED})

    assert (after.wave, [each.gateway for each in assigned]) == (1, ["g01", "g02"])


def test_a_wave_waits_for_all_its_members() -> None:
    """
    Nine of ten are enough for success, and the tenth still has its time: nothing goes on before its verdict.
    """
    nine = {f"g{i:02}": UPDATED for i in range(9)}
    found = given(rollout(10, 5), **nine, g09=ASSIGNED)

    waiting, assigned = look(found, {("g09", "seal"): SILENT})
    done, _ = look(found, {("g09", "seal"): SILENT}, LATE_US)

    assert (waiting.wave, assigned) == (0, [])
    assert (done.wave, states(done)["g09"]) == (1, UNKNOWN)


@pytest.mark.parametrize(
    ("action", "state"),
    [
        (Action.PAUSE, RolloutState.PAUSED),
        (Action.STOP, RolloutState.STOPPED),
        (Action.REVERT, RolloutState.REVERTING),
    ],
)
def test_a_failure_does_what_the_plan_says(action: Action, state: RolloutState) -> None:
    """
    A canary that refuses pauses, stops or reverts the rollout, and the reason names gateway and refusal.
    """
    found = given(rollout(1, 2, plan=with_action(action)), g00=ASSIGNED)

    after, assigned = look(found, all_of(found.members, REFUSED))

    assert (after.state, after.cause, after.wave) == (state, Cause.FAILURE, 0)
    assert after.reason == "wave 1: 1 of 1 failed, limit 10 %; g00 seal: SelfTestFailed"
    assert after.members[0].reason.startswith("SelfTestFailed: a detail") or action is Action.REVERT
    assert assigned == ([Assign("g00", {"seal": OLD}, after.reason)] if action is Action.REVERT else [])


def test_a_rollout_finishes_when_its_last_wave_has_proved_itself() -> None:
    """
    The end is reached with every wave a success, and says how many are updated.
    """
    found = replace(given(rollout(1, 1), g00=UPDATED, g01=ASSIGNED), wave=1)

    after, assigned = look(found, {("g01", "seal"): PROVED})

    assert (after.state, after.reason, assigned) == (RolloutState.FINISHED, "2 of 2 updated", [])
    assert is_over(after)


def test_an_earlier_wave_that_turns_bad_stops_a_later_one() -> None:
    """
    A canary that gives the release back while the second wave runs is a failure like any other.
    """
    found = replace(given(rollout(1, 2), g00=UPDATED, g01=UPDATED, g02=ASSIGNED), wave=1)
    returned = report(new=500, refusal="Unstable", step=Step.RETURNED)

    after, _ = look(found, {("g00", "seal"): returned})

    assert after.state is RolloutState.PAUSED
    assert "wave 1: 1 of 1 failed" in after.reason


def test_a_failed_wave_is_retried_only_when_no_other_is_under_way() -> None:
    """
    Resuming at an earlier wave waits until the members of the later one have their verdicts.
    """
    found = replace(given(rollout(1, 2), g00=PENDING, g01=ASSIGNED, g02=UPDATED), wave=0)

    waiting, assigned = look(found, all_of(found.members, SILENT))
    after, then = look(waiting, all_of(found.members, PROVED))

    assert assigned == []
    assert [each.gateway for each in then] == ["g00"]
    assert after.wave == 0


@pytest.mark.parametrize("state", [RolloutState.PAUSED, RolloutState.STOPPED, RolloutState.FAILED])
def test_nobody_is_assigned_while_it_does_not_run(state: RolloutState) -> None:
    """
    A rollout that is paused or over gives the release to nobody, and still takes note of what comes in.
    """
    found = replace(given(rollout(2, 2), g00=ASSIGNED), state=state, cause=Cause.OPERATOR)

    after, assigned = look(found, all_of(found.members, PROVED))

    assert assigned == []
    assert list(states(after).values()) == [UPDATED, PENDING, PENDING, PENDING]


def test_a_failure_during_a_pause_acts_too() -> None:
    """
    A pause by hand does not keep a failing canary from being reverted.
    """
    found = replace(given(rollout(1, plan=with_action(Action.REVERT)), g00=ASSIGNED), state=RolloutState.PAUSED)

    after, assigned = look(found, all_of(found.members, REFUSED))

    assert (after.state, [each.gateway for each in assigned]) == (RolloutState.REVERTING, ["g00"])


def test_revert_gives_everybody_what_ran_before() -> None:
    """
    Whoever was ever given the release gets the one of before; who waited is left alone; it ends as failed.
    """
    plan = with_action(Action.REVERT)
    found = replace(given(rollout(1, 3, plan=plan), g00=UPDATED, g01=FAILED, g02=UNKNOWN), wave=1)

    reverting, assigned = look(found, {})
    over, again = look(reverting, all_of(found.members, report(new=900, old=1200)))

    assert [(each.gateway, each.targets) for each in assigned] == [(f"g{i:02}", {"seal": OLD}) for i in range(3)]
    assert list(states(over).values()) == [MemberState.REVERTED] * 3 + [PENDING]
    assert (over.state, again) == (RolloutState.FAILED, [])


def test_a_revert_is_measured_like_an_update() -> None:
    """
    Reverting ends only by verdicts of the release of before, given since; a silent one is named at the deadline.
    """
    found = replace(given(rollout(1), g00=UPDATED), state=RolloutState.REVERTING, changed_us=START_US)

    first, _ = look(found, all_of(found.members, report(old=1000)))
    still, _ = look(first, all_of(found.members, report(old=1000)))
    late, _ = look(still, all_of(found.members, report(old=1000)), LATE_US)

    assert (still.state, states(still)["g00"]) == (RolloutState.REVERTING, MemberState.REVERTING)
    assert late.state is RolloutState.FAILED
    assert "1 are not known to" in late.reason


def test_the_second_same_look_does_nothing() -> None:
    """
    Looking again with the same reports at the same time changes nothing and asks for nothing.
    """
    found = rollout(2, 3)
    for told in (SILENT, report(new=1040), REFUSED):
        found, _ = tick(found, all_of(found.members, told), SOON_US)

        assert tick(found, all_of(found.members, told), SOON_US) == (found, ())


def test_every_change_is_a_decision() -> None:
    """
    What a member or the rollout became stands in a decision, with the figures it was decided by.
    """
    found = given(rollout(1), g00=ASSIGNED)

    _, commands = tick(found, all_of(found.members, report(new=100, uninspected=90)), SOON_US)

    member, whole = (each for each in commands if isinstance(each, Decision))
    assert (member.gateway, member.text) == ("g00", "failed: gate uninspected: 90 of 100 (90.0%), limit 0.05")
    assert member.detail["uninspected"] == "fail: 90 of 100 (90.0%), limit 0.05"
    assert whole.text.startswith("paused: wave 1: 1 of 1 failed, limit 10 %; g00 seal: gate uninspected")


@pytest.mark.parametrize(
    ("updated", "others", "percent", "success"),
    [(9, 1, 90.0, True), (8, 2, 90.0, False), (10, 0, 100.0, True), (0, 3, 0.0, False), (0, 0, 90.0, True)],
)
def test_success_counts_those_without_a_proof_against(
    updated: int, others: int, percent: float, *, success: bool
) -> None:
    """
    Unknown members are no success; a wave in which nobody takes part any more keeps nobody waiting.
    """
    found = given(
        rollout(updated + others),
        **{f"g{i:02}": UPDATED if i < updated else UNKNOWN for i in range(updated + others)},
    )
    plan = Plan(target=NEW, success_percent=percent)

    assert is_success(plan, found.members) is success
