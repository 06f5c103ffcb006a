import json
import pickle
from itertools import chain, repeat

import pytest

from scripts.benches import pairs
from scripts.benches.inference import soak


def test_what_slows_both_down_changes_nothing() -> None:
    """A machine that gets slower all the time still shows the same ratio."""
    speeds = iter(0.98**n for n in range(1000))

    found = pairs.ratios(lambda: 3 * next(speeds), lambda: 4 * next(speeds), slices=15)

    assert len(found) == 15
    assert found == pytest.approx([0.75] * 15, rel=0.01)


def test_a_disturbed_slice_is_measured_again() -> None:
    """A slice before and after which the same thing ran at different speeds does not count."""
    theirs = chain([4.0, 1.0], repeat(4.0))

    found = pairs.ratios(lambda: 3.0, lambda: next(theirs), slices=3)

    assert found == [0.75] * 3


def test_a_machine_that_is_never_quiet_is_measured_all_the_same() -> None:
    """Slices are measured again only so often: a bench ends."""
    theirs = chain.from_iterable(repeat((4.0, 1.0)))

    found = pairs.ratios(lambda: 2.5, lambda: next(theirs), slices=3)

    assert len(found) == 3


def test_an_interval_holds_the_median() -> None:
    """The interval lies about the median and within the values."""
    low, high = pairs.interval([1.0, 2.0, 3.0, 4.0, 50.0])

    assert 1.0 <= low <= 3.0 <= high <= 50.0


def test_an_estimate_is_a_number_that_keeps_its_interval() -> None:
    """From another process it comes with its interval; written down it is the plain number."""
    found = pairs.median([1.0, 2.5, 3.0, 4.0, 50.0])

    again = pickle.loads(pickle.dumps(found))  # noqa: S301 (made here)

    assert (again, again.low, again.high) == (found, found.low, found.high)
    assert again.low <= again <= again.high
    assert json.dumps({"of": again}, indent=2) == json.dumps({"of": 3.0}, indent=2)


def test_of_two_slopes_the_one_that_noise_does_not_explain_is_told() -> None:
    """A small slope that is surely one counts before a larger one that may be none."""
    sure, noisy, flat = pairs.Estimate(0.5, 0.3, 0.7), pairs.Estimate(2.0, -3.0, 4.0), pairs.Estimate(0.1, -0.1, 0.2)

    assert max(noisy, sure, key=soak.beyond_noise) is sure
    assert max(noisy, flat, key=soak.beyond_noise) is noisy
