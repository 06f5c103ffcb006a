import pytest

from cloud_hub.factory.agreement import Seen, compare, overlap
from cloud_hub.factory.evaluate import Figure
from edge_agent.judgement import Detection


def person(score: float, left: float = 0.0, label: str = "person") -> Detection:
    """Somebody of 10 by 20 pixels."""
    return Detection(label, score, (left, 0.0, left + 10.0, 20.0))


@pytest.mark.parametrize(
    ("left", "share"), [(0.0, 1.0), (5.0, 1 / 3), (10.0, 0.0), (-20.0, 0.0)], ids=["same", "half", "beside", "far"]
)
def test_overlap_is_intersection_over_union(left: float, share: float) -> None:
    """From one where boxes are the same to zero where they only touch, whichever comes first."""
    one, two = person(0.5).box, person(0.5, left).box

    assert overlap(one, two) == pytest.approx(share)
    assert overlap(two, one) == pytest.approx(share)


def test_agreement_counts_verdicts_and_things_found_again() -> None:
    """A thing is found again at any score where its box is, and is no more one thing where it has moved away."""
    reference = [
        Seen("NG", (person(0.9), person(0.8, 100.0), person(0.3, 200.0))),
        Seen("OK", (person(0.9, label="car"),)),
    ]
    other = [Seen("REVIEW", (person(0.3, 1.0), person(0.9, 150.0))), Seen("OK", ())]

    found = compare(reference, other, "person", 0.5)

    again, same = found["persons of fp32 found again"], found["same verdict as fp32"]
    assert isinstance(again, Figure)
    assert isinstance(same, Figure)
    assert (again.value, again.n) == (0.5, 2)
    assert (same.value, same.n) == (0.5, 2)
    assert found["persons per frame"] == 0.5
