"""Reasons: what stands out is told first, with a percentile that is true of the good ones it is told of."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.diagnostics.reasons import MOST, Ranks, Teller
from edge_protocol.counters import Reference, make_feature, make_signal

GOOD = np.random.default_rng(1).normal(size=(4000, 3))
REFERENCE = Reference(
    (make_signal("rms", np.abs(GOOD[:, 0])), make_signal("score", GOOD[:, 1])),
    features=tuple(make_feature(name, column) for name, column in zip("abc", GOOD.T, strict=True)),
)


@settings(max_examples=100, deadline=None)
@given(st.floats(-6, 6))
def test_a_percentile_is_true_of_the_good_ones(value: float) -> None:
    """Above so many per cent, or below so many: of the very values that the histogram was made of."""
    (percentile,) = Ranks([make_feature("x", GOOD[:, 0])]).of(np.array([value]))

    share = 100 * np.mean(GOOD[:, 0] <= value)
    if percentile > 50:
        assert share >= percentile - 1e-9
    elif percentile < 50:
        assert share <= percentile + 1e-9


def test_beyond_all_good_ones_is_a_hundred() -> None:
    """Further out than any good one: all of them are below, or above."""
    ranks = Ranks([make_feature("x", GOOD[:, 0])])

    assert ranks.of(np.array([GOOD[:, 0].max() + 1])) == 100
    assert ranks.of(np.array([GOOD[:, 0].min() - 1])) == 0
    assert ranks.of(np.array([GOOD[:, 0].max()])) < 100


def test_what_stands_out_comes_first() -> None:
    """Of features, those furthest from the middle of the good ones; the value is that before it was standardised."""
    reference = msgspec.structs.replace(
        REFERENCE, features=tuple(make_feature(n, 10.0 * (i + 1) + 2 * GOOD[:, i]) for i, n in enumerate("abc"))
    )
    teller = Teller(reference, "abc", mean=(10.0, 20.0, 30.0), std=(2.0, 2.0, 2.0))

    reasons = teller.tell({"rms": 0.67, "score": 9.0}, np.array([0.1, 8.0, -2.0], np.float32))

    assert [reason.name for reason in reasons[:2]] == ["b", "c"]
    assert reasons[0].value == pytest.approx(36)
    assert (reasons[0].percentile, reasons[1].percentile) == (100, pytest.approx(5, abs=0.1))
    assert "score" not in [reason.name for reason in reasons]


def test_what_the_model_adds_up_comes_before_what_is_rare() -> None:
    """Where a model tells the parts of its score, the largest part is the first reason."""
    teller = Teller(REFERENCE, "abc")

    reasons = teller.tell({}, np.array([0.0, 9.0, 0.0], np.float32), np.array([[5.0, 1.0, 0.0]], np.float32))

    assert [(reason.name, reason.part) for reason in reasons[:2]] == [("a", 5.0), ("b", 1.0)]


def test_without_a_reference_the_contract_tells() -> None:
    """A feature many deviations off is first, with no percentile claimed."""
    teller = Teller(None, "abc", mean=(1.0, 1.0, 1.0), std=(1.0, 1.0, 1.0))

    reasons = teller.tell({"rms": 1.0}, np.array([0.1, -7.0, 0.3], np.float32))

    assert (reasons[0].name, reasons[0].value, reasons[0].percentile) == ("b", -6.0, None)


@pytest.mark.parametrize("features", [None, np.zeros(2, np.float32), np.full(3, np.nan, np.float32)])
def test_odd_features_are_no_error(features: np.ndarray | None) -> None:
    """None, another number of them, or some that are no numbers: signals are told all the same."""
    teller = Teller(REFERENCE, "abc")

    reasons = teller.tell({"rms": 5.0, "kurtosis": float("inf")}, features)

    assert "rms" in [reason.name for reason in reasons]
    assert all(np.isfinite(reason.value) for reason in reasons)


def test_no_more_is_told_than_a_person_reads() -> None:
    """Of a hundred features a handful."""
    names = [f"f{n}" for n in range(100)]

    assert len(Teller(None, names).tell({}, np.arange(100, dtype=np.float32))) == MOST
