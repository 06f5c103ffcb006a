"""Receipts on their way out."""

from hypothesis import given
from hypothesis import strategies as st

from cloud_hub.telemetry.archive import Answer
from cloud_hub.telemetry.postbox import MAX_RANGES, bounded
from edge_protocol import ranges
from edge_protocol.ranges import Ranges

EVERY_OTHER: Ranges = tuple((n, n) for n in range(1, 2001, 2))
many = st.sets(st.integers(1, 600), max_size=600).map(ranges.from_numbers)


@given(committed=many, answers=many, conflicts=many)
def test_a_bounded_receipt_promises_nothing_more(committed: Ranges, answers: Ranges, conflicts: Ranges) -> None:
    """
    What a gateway may delete by the short form it may delete by the long one; a conflict is never forgotten.
    """

    def deletable(answer: Answer) -> Ranges:
        return ranges.subtract(ranges.intersect(answer.answers, answer.committed), answer.conflicts)

    whole = Answer("g", 1, "verdicts", committed, conflicts, answers)
    short = bounded(whole)

    assert ranges.subtract(deletable(short), deletable(whole)) == ()
    assert max(map(len, (short.committed, short.conflicts, short.answers))) <= MAX_RANGES
    assert short.committed[-1:] == committed[-1:]
    assert short.committed[:1] == committed[:1]


def test_what_is_answered_is_among_what_is_committed() -> None:
    """
    In a scattered stream the pieces that just came are the ones that are named.
    """
    short = bounded(Answer("g", 1, "verdicts", EVERY_OTHER, (), ((501, 501), (777, 777))))

    assert len(short.committed) <= MAX_RANGES
    assert {(501, 501), (777, 777), (1, 1), (1999, 1999)} <= set(short.committed)


def test_more_conflicts_than_fit_leave_their_rows_with_the_gateway() -> None:
    """
    Of a thousand conflicts some are named and none of the others may be deleted.
    """
    short = bounded(Answer("g", 1, "verdicts", ((1, 2000),), EVERY_OTHER, ((1, 2000),)))

    deletable = ranges.subtract(ranges.intersect(short.answers, short.committed), short.conflicts)
    assert ranges.intersect(deletable, EVERY_OTHER) == ()
    assert len(short.conflicts) == MAX_RANGES
