"""What verdicts say of a release: pass, fail, or not enough to say."""

import random

import pytest
from msgspec.structs import replace

from cloud_hub.updates.rollouts import gates
from cloud_hub.updates.rollouts.gates import judge, overall, rule
from cloud_hub.updates.rollouts.plan import Gates, Member, Plan, Report, Ruling, Verdicts
from tests.cloud_hub.updates.rollouts.fleets import NEW, OLD, PLAN, report

MEMBER = Member(gateway="g00", pipeline="seal", wave=0, before={"OK": 990, "NG": 10})


@pytest.mark.parametrize(
    ("hits", "n", "limit", "ruling"),
    [
        (0, 0, 0.05, Ruling.INSUFFICIENT),
        (0, 19, 0.05, Ruling.INSUFFICIENT),
        (0, 20, 0.05, Ruling.PASS),
        (1, 20, 0.05, Ruling.PASS),
        (2, 20, 0.05, Ruling.INSUFFICIENT),
        (5, 5, 0.05, Ruling.FAIL),
        (20, 20, 0.05, Ruling.FAIL),
        (60, 1000, 0.05, Ruling.INSUFFICIENT),
        (90, 1000, 0.05, Ruling.FAIL),
        (1, 3, 0.0, Ruling.FAIL),
        (20, 20, 1.0, Ruling.PASS),
    ],
)
def test_a_share_is_ruled_by_what_was_seen(hits: int, n: int, limit: float, ruling: Ruling) -> None:
    """
    A share passes with enough verdicts at or below the limit, fails when it is clearly above, else it waits.
    """
    assert rule(hits, n, limit, 20) is ruling


def test_looking_all_the_time_fails_no_good_release() -> None:
    """
    A release whose share lies exactly at the limit, looked at after every verdict, hardly ever fails.
    """
    chance, failed, runs = random.Random(5), 0, 400  # noqa: S311

    for _ in range(runs):
        hits = 0
        for n in range(1, 400):
            hits += chance.random() < 0.05
            if rule(hits, n, 0.05, n) is Ruling.FAIL:
                failed += 1
                break

    assert failed <= 3  # 0.4 are expected at most


def test_a_bad_release_is_caught_within_few_verdicts() -> None:
    """
    A release that leaves every fourth part uninspected fails before a hundred parts are through.
    """
    assert rule(25, 100, 0.05, 20) is Ruling.FAIL


@pytest.mark.parametrize(
    ("told", "ruling"),
    [
        (report(new=0), Ruling.INSUFFICIENT),
        (report(new=19), Ruling.INSUFFICIENT),
        (report(new=20), Ruling.PASS),
        (report(new=200, uninspected=10), Ruling.PASS),
        (report(new=200, uninspected=12), Ruling.INSUFFICIENT),
        (report(new=200, uninspected=80), Ruling.FAIL),
        (report(new=200, late=2), Ruling.PASS),
        (report(new=200, late=3), Ruling.INSUFFICIENT),
        (report(new=200, late=40), Ruling.FAIL),
    ],
)
def test_every_gate_must_pass(told: Report, ruling: Ruling) -> None:
    """
    Enough verdicts, few of them uninspected, 99 of 100 within the budget: all or not yet, and one failure fails.
    """
    assert overall(judge(PLAN, MEMBER, told)) is ruling


@pytest.mark.parametrize(
    ("asked", "before", "ng", "ruling"),
    [
        (Gates(), {}, 90, Ruling.PASS),
        (Gates(ng_percent=10.0), {}, 10, Ruling.PASS),
        (Gates(ng_percent=10.0), {}, 40, Ruling.FAIL),
        (Gates(ng_factor=2.0), {"OK": 990, "NG": 10}, 2, Ruling.PASS),
        (Gates(ng_factor=2.0), {"OK": 990, "NG": 10}, 30, Ruling.FAIL),
        (Gates(ng_factor=2.0), {"OK": 19}, 0, Ruling.INSUFFICIENT),
        (Gates(ng_factor=2.0, ng_percent=1.0), {"OK": 500, "NG": 500}, 30, Ruling.FAIL),
    ],
)
def test_ng_is_compared_with_the_same_line_before(asked: Gates, before: Verdicts, ng: int, ruling: Ruling) -> None:
    """
    The share of NG is held to a limit, or to a factor of what this very pipeline had before; without that it waits.
    """
    plan = Plan(target=NEW, min_verdicts=20, gates=asked)

    found = judge(plan, replace(MEMBER, before=before), report(new=100, ng=ng))

    assert overall(found) is ruling


def test_only_what_came_since_the_assignment_counts() -> None:
    """
    Verdicts the release gave before it was assigned prove nothing: a gateway that ran it already proves it anew.
    """
    told = report(new=520, running=NEW)
    member = replace(MEMBER, baseline={"OK": 510})

    found = judge(PLAN, member, told)

    assert found.verdicts == {"OK": 10}
    assert overall(found) is Ruling.INSUFFICIENT


def test_verdicts_of_another_release_prove_nothing() -> None:
    """
    A gateway that says it is done and goes on judging with the old release is not counted.
    """
    found = judge(PLAN, MEMBER, Report(totals={OLD.digest: {"OK": 100_000}}, step="kept"))

    assert found.n == 0
    assert overall(found) is Ruling.INSUFFICIENT


def test_p99_is_the_one_in_a_hundred() -> None:
    """
    The figure shown is the latency that 99 of 100 verdicts keep.
    """
    told = Report(latencies_us=tuple(range(1000, 101_000, 1000)))

    assert judge(PLAN, MEMBER, told).p99_ms == 99.0


def test_counts_are_differences() -> None:
    """
    What is there now minus what was there, kind by kind.
    """
    assert gates.since({"OK": 5, "NG": 2, "REVIEW": 1}, {"OK": 3, "NG": 2}) == {"OK": 2, "REVIEW": 1}
