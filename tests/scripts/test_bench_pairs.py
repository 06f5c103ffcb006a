from itertools import chain, repeat

import pytest

from scripts.benches import pairs


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
