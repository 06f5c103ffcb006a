"""Ranges compute what sets of numbers would."""

import time

from hypothesis import given
from hypothesis import strategies as st

from edge_protocol import ranges

SETS = st.sets(st.integers(1, 60))
PAIRS = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)))


def _numbers(pairs) -> set[int]:
    return {number for first, last in pairs for number in range(first, last + 1)}


@given(SETS)
def test_numbers_survive(numbers):
    """A set of numbers comes back from its ranges, which are in normal form and count them."""
    found = ranges.from_numbers(numbers)

    assert _numbers(found) == numbers
    assert ranges.is_normal(found)
    assert ranges.count(found) == len(numbers)


@given(PAIRS)
def test_the_normal_form_is_one(pairs):
    """Whatever pairs describe a set, its normal form is the same."""
    assert ranges.normal(pairs) == ranges.from_numbers(_numbers(pairs))


@given(SETS, SETS)
def test_operations_are_those_of_sets(left, right):
    """Union, difference and intersection of ranges are those of the sets, in normal form."""
    a, b = ranges.from_numbers(left), ranges.from_numbers(right)

    for operation, expected in (
        (ranges.union, left | right),
        (ranges.subtract, left - right),
        (ranges.intersect, left & right),
    ):
        assert operation(a, b) == ranges.from_numbers(expected)


@given(SETS, st.integers(1, 60))
def test_the_prefix_is_the_run_from_the_start(numbers, start):
    """The prefix is the last number up to which all are there."""
    last = start - 1
    while last + 1 in numbers:
        last += 1

    assert ranges.prefix(ranges.from_numbers(numbers), start) == last


@given(st.lists(st.tuples(st.integers(-3, 70), st.integers(-3, 70)), max_size=4).map(tuple))
def test_is_normal_knows_the_normal_form(pairs):
    """Exactly what `normal` leaves alone, and begins at 1 or above, is normal."""
    expected = ranges.normal(pairs) == pairs and all(first >= 1 for first, _ in pairs)

    assert ranges.is_normal(pairs) == expected
    assert not ranges.is_normal(((1, ranges.LAST + 1),))
    assert not ranges.is_normal(((1, 2), (3, 4)))
    assert ranges.is_normal(((1, 2), (4, 4)))


def test_scattered_ranges_stay_cheap():
    """The work grows with the number of ranges, not with its square: a stranger may send many."""
    odd = tuple((n, n) for n in range(1, 400_001, 2))
    shifted = tuple((n, n) for n in range(200_001, 600_001, 2))
    began_s = time.monotonic()

    common = ranges.intersect(odd, shifted)

    assert len(common) == 100_000
    assert time.monotonic() - began_s < 60
