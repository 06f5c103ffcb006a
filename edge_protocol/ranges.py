"""Sets of sequence numbers as sorted, disjoint, inclusive ranges: the arithmetic of the account.

A value is a tuple of `(first, last)` pairs in normal form: ascending, not touching. Pure functions only, each linear
in the number of pairs: they also work on what a stranger sent.
"""

from collections.abc import Iterable
from typing import TypeAlias

Ranges: TypeAlias = tuple[tuple[int, int], ...]

EMPTY: Ranges = ()
LAST = 2**62
"""No sequence number is above this."""


def is_normal(pairs: Ranges) -> bool:
    """Whether `pairs` are in normal form and hold numbers from 1 to `LAST` only."""
    free = 1
    for first, last in pairs:
        if not free <= first <= last:
            return False
        free = last + 2
    return not pairs or pairs[-1][1] <= LAST


def normal(pairs: Iterable[tuple[int, int]]) -> Ranges:
    """The normal form of any pairs; pairs whose last is below their first hold nothing."""
    result: list[tuple[int, int]] = []
    for first, last in sorted(pair for pair in pairs if pair[0] <= pair[1]):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(result[-1][1], last))
        else:
            result.append((first, last))
    return tuple(result)


def union(left: Ranges, right: Ranges) -> Ranges:
    """Numbers in either."""
    return normal((*left, *right))


def subtract(left: Ranges, right: Ranges) -> Ranges:
    """Numbers in `left` and not in `right`."""
    result: list[tuple[int, int]] = []
    at = 0
    for first, last in left:
        start = first
        while at < len(right) and right[at][1] < start:
            at += 1
        # The last range looked at may reach into the next pair of `left`, so `at` stays on it.
        look = at
        while look < len(right) and right[look][0] <= last:
            low, high = right[look]
            if low > start:
                result.append((start, low - 1))
            start = high + 1
            at, look = look, look + 1
        if start <= last:
            result.append((start, last))
    return tuple(result)


def intersect(left: Ranges, right: Ranges) -> Ranges:
    """Numbers in both."""
    return subtract(left, subtract(left, right))


def count(ranges: Ranges) -> int:
    """How many numbers."""
    return sum(last - first + 1 for first, last in ranges)


def prefix(ranges: Ranges, start: int = 1) -> int:
    """The last number of the run that begins at `start`; `start - 1` when it is absent."""
    return next((last for first, last in ranges if first <= start <= last), start - 1)


def from_numbers(numbers: Iterable[int]) -> Ranges:
    """The ranges that hold exactly `numbers`."""
    return normal((number, number) for number in numbers)
