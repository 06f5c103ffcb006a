"""The tests on counters agree with pencil and paper and with SciPy."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from edge_protocol import statistics
from edge_protocol.codes import FindingState
from edge_protocol.errors import EdgesMismatch

COUNTS = st.lists(st.integers(0, 5000), min_size=2, max_size=20)


def test_psi_by_hand():
    """PSI is Σ (q - p) ln(q / p) on shares smoothed by half a count."""
    reference, live = np.array([49, 49]), np.array([24, 74])

    p, q = 49.5 / 99, 24.5 / 99
    expected = (q - p) * math.log(q / p) + ((1 - q) - (1 - p)) * math.log((1 - q) / (1 - p))
    assert statistics.psi(reference, live) == pytest.approx(expected, rel=1e-12)
    assert statistics.psi(reference, live) == pytest.approx(0.2808, abs=0.0001)


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), min_size=2, max_size=20))
def test_psi_is_symmetric_and_zero_only_between_equals(pairs):
    """PSI does not care which side is the reference, is never negative, and is zero on equal counters."""
    left, right = (np.array(side) for side in zip(*pairs, strict=True))

    assert statistics.psi(left, right) == pytest.approx(statistics.psi(right, left), rel=1e-9, abs=1e-15)
    assert statistics.psi(left, right) >= 0
    assert statistics.psi(left, left) == 0


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), min_size=2, max_size=20))
def test_chi_square_is_scipys(pairs):
    """X² and its p-value are SciPy's on the same table, bins empty on both sides left out."""
    reference, live = (np.array(side) for side in zip(*pairs, strict=True))
    table = np.stack([reference, live])[:, reference + live > 0]

    statistic, p_value = statistics.chi_square(reference, live)

    if table.shape[1] < 2 or not table.sum(axis=1).all():
        assert (statistic, p_value) == (0.0, 1.0)
    else:
        expected = scipy.stats.chi2_contingency(table, correction=False)
        assert statistic == pytest.approx(expected.statistic, rel=1e-10, abs=1e-12)
        assert p_value == pytest.approx(scipy.stats.chi2.sf(statistic, expected.dof), rel=1e-10, abs=1e-300)


@given(st.floats(0, 3000), st.integers(1, 400))
def test_the_tail_is_scipys(statistic, degrees):
    """The tail of χ² is SciPy's to ten digits, however far out."""
    expected = scipy.stats.chi2.sf(statistic, degrees)

    found = statistics.chi_square_tail(statistic, degrees)

    assert found == pytest.approx(expected, rel=1e-10, abs=1e-290)
    assert 0 <= found <= 1


@pytest.mark.parametrize(("statistic", "degrees"), [(1.0, 0), (1.0, -1), (math.nan, 3)])
def test_what_has_no_tail_is_an_error(statistic, degrees):
    """No degrees of freedom or no number is the caller's mistake."""
    with pytest.raises(ValueError, match="degrees"):
        statistics.chi_square_tail(statistic, degrees)


def test_the_ends_of_the_tail():
    """Nothing observed is certain, the endless is impossible."""
    assert [statistics.chi_square_tail(value, 3) for value in (0.0, -1.0, math.inf)] == [1.0, 1.0, 0.0]


@pytest.mark.parametrize(("n", "state"), [(0, "insufficient"), (499, "insufficient"), (500, "drift")])
def test_too_few_samples_decide_nothing(n, state):
    """Below the minimum a finding is `insufficient`, however far off the few are."""
    reference, live = np.array([500, 500, 0]), np.array([n, 0, 0])

    assert statistics.compare(reference, live).state == FindingState(state)


def test_an_empty_reference_decides_nothing():
    """Against a reference of no samples nothing is drift."""
    assert statistics.compare(np.zeros(3, np.int64), np.array([600, 0, 0])).state is FindingState.INSUFFICIENT


def test_the_finding_carries_its_figures():
    """Equal shares are `ok`; a shift at the field's threshold is `drift`; χ² is told and does not decide."""
    reference = np.array([1000, 1000, 0])

    same = statistics.compare(reference, np.array([300, 300, 0]))
    moved = statistics.compare(reference, np.array([150, 450, 0]))
    slightly = statistics.compare(reference, np.array([5300, 4700, 0]))

    assert (same.state, same.n, same.chi2, same.p_value) == (FindingState.OK, 600, 0.0, 1.0)
    assert moved.state is FindingState.DRIFT
    assert moved.psi >= statistics.PSI_DRIFT
    assert slightly.state is FindingState.OK
    assert slightly.p_value < 0.05


@given(COUNTS)
def test_other_bins_are_not_compared(counts):
    """Counters of other numbers of bins are refused by every test, also when they are too few."""
    left, right = np.array(counts), np.array([*counts, 1])

    for test in (statistics.psi, statistics.chi_square, statistics.compare):
        with pytest.raises(EdgesMismatch):
            test(left, right)
