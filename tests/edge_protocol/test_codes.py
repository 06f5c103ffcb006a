"""The words of the protocol."""

import itertools

import pytest

from edge_protocol.codes import Reason, Stream, Verdict, worst


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((), Verdict.UNINSPECTED),
        ((Verdict.OK, Verdict.OK), Verdict.OK),
        ((Verdict.OK, Verdict.REVIEW), Verdict.REVIEW),
        ((Verdict.REVIEW, Verdict.UNINSPECTED), Verdict.UNINSPECTED),
        ((Verdict.UNINSPECTED, Verdict.NG, Verdict.OK), Verdict.NG),
    ],
)
def test_a_part_is_as_bad_as_its_worst_verdict(verdicts, expected):
    """NG beats UNINSPECTED beats REVIEW beats OK in any order, and what nobody judged is UNINSPECTED."""
    assert {worst(order) for order in itertools.permutations(verdicts)} == {expected}


def test_numbers_are_never_reused():
    """The numbers of verdicts and reasons are what gateways out there have written; new ones come behind."""
    assert {verdict.name: verdict.value for verdict in Verdict} == {"OK": 0, "NG": 1, "REVIEW": 2, "UNINSPECTED": 3}
    assert {reason.name: reason.value for reason in Reason}.items() >= {
        "NONE": 0, "SCORE_REJECT": 1, "SCORE_REVIEW": 2, "UNREADABLE": 100, "BLACK": 101, "FROZEN": 102,
        "WRONG_SHAPE": 103, "NOT_FINITE": 104, "SOURCE_FAULT": 105, "OVERLOAD": 200, "LATE": 201, "NO_MODEL": 202,
        "ENGINE_FAULT": 203, "INTERRUPTED": 204,
    }.items()  # fmt: skip


def test_events_go_first_and_captures_last():
    """The order of the streams is the order of sending, and the reverse of shedding."""
    assert next(iter(Stream)) is Stream.EVENTS
    assert list(Stream)[-1] is Stream.CAPTURES
