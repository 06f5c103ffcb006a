"""An int8 variant gets out only when it judges as its float model does, and costs no more floats than that takes."""

from collections.abc import Sequence

import numpy as np
import pytest

from cloud_hub.factory import accuracy_guard
from cloud_hub.factory.accuracy_guard import MAX_LOSS, MIN_AGREEMENT, MIN_RANK, Comparison, NotHeld, compare, search
from edge_protocol.bundle import OperatingPoint

POINT = OperatingPoint(accept=0.5, reject=0.8)
GOOD, BAD = np.linspace(0.0, 0.45, 500), np.linspace(0.55, 1.5, 500)
EXACT = np.concatenate([GOOD, BAD])
IS_BAD = np.repeat([False, True], 500)
SOUND = Comparison(0.0, 1.0, 1.0)
ORDER = [f"node-{n}" for n in range(60)]


def test_a_variant_that_changes_nothing_holds() -> None:
    """The same scores lose nothing, agree on all parts and rank them alike."""
    found = compare(EXACT, EXACT.copy(), IS_BAD, POINT)

    assert (found.loss, found.agreement, found.rank) == (0.0, 1.0, pytest.approx(1.0))
    assert found.holds


def test_agreement_is_about_what_is_let_pass() -> None:
    """A part that goes from REVIEW to NG is stopped either way; one that goes over `accept` is not."""
    between, over = EXACT.copy(), EXACT.copy()
    between[IS_BAD] += 0.2
    over[:30] += 0.6

    assert compare(EXACT, between, IS_BAD, POINT).agreement == 1.0
    assert compare(EXACT, over, IS_BAD, POINT).agreement == pytest.approx(0.97)


@pytest.mark.parametrize(
    ("loss", "agreement", "rank", "holds"),
    [
        (MAX_LOSS, MIN_AGREEMENT, MIN_RANK, True),
        (MAX_LOSS + 1e-6, 1.0, 1.0, False),
        (0.0, MIN_AGREEMENT - 1e-6, 1.0, False),
        (0.0, 1.0, MIN_RANK - 1e-6, False),
        (float("nan"), 1.0, 1.0, False),
    ],
)
def test_each_limit_counts_alone(loss: float, agreement: float, rank: float, holds: bool) -> None:  # noqa: FBT001
    """A variant that breaks one limit does not hold, and at the limits it does."""
    assert Comparison(loss, agreement, rank).holds is holds


@pytest.mark.parametrize("needed", [0, 1, 4, 5, 30])
def test_nodes_go_back_to_float_worst_first_and_no_further_than_needed(needed: int) -> None:
    """The first attempt that holds is taken; what it leaves in float are the worst nodes."""

    def judge(model: bytes) -> Comparison:
        return SOUND if int(model) >= needed else Comparison(0.1, 0.9, 0.9)

    guarded = search(lambda in_float: str(len(in_float)).encode(), judge, lambda: ORDER, "u8s8")

    count = next(step for step in accuracy_guard.STEPS if step >= needed)
    assert guarded.in_float == tuple(ORDER[:count])
    assert guarded.after == SOUND
    assert (guarded.before == SOUND) is (needed == 0)


def test_nobody_looks_for_the_worst_nodes_when_none_must_go() -> None:
    """The noise of each node is measured only where the variant does not hold as it is."""

    def worst_first() -> Sequence[str]:
        pytest.fail("nothing had to go back to float")

    assert search(lambda _in_float: b"", lambda _model: SOUND, worst_first, "u8s8").in_float == ()


def test_a_variant_that_never_holds_is_refused_by_name() -> None:
    """With every node in float and still another verdict, there is no such variant, and each attempt is told."""
    odd = Comparison(0.0, 1.0, 0.5)
    with pytest.raises(NotHeld, match=r"u8s8-odd .*rank") as caught:
        search(lambda _in_float: b"", lambda _model: odd, lambda: ORDER[:6], "u8s8-odd")

    assert caught.value.hint
    assert caught.value.attempts == {0: odd, 4: odd, 6: odd}
