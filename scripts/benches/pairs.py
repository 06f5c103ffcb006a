"""Side by side in one run: two things are measured in short alternating slices, and what counts is the ratio."""

import random
import statistics
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Self

SPREAD = 0.2
"""Two measurements of the same thing that differ by more say that a neighbour was at work between them."""


def rate_of(work: Callable[[], object], runs: int) -> Callable[[], float]:
    """A slice of work done over and over: how often a second, by the mean of `runs`."""

    def rate() -> float:
        start_s = perf_counter()
        for _ in range(runs):
            work()
        return runs / (perf_counter() - start_s)

    return rate


def ratios(ours: Callable[[], float], theirs: Callable[[], float], slices: int = 15) -> list[float]:
    """Ours ÷ theirs for each slice, theirs being measured before and after each of ours.

    A noisy neighbour disturbs both; a slice in which the two measurements of theirs disagree by more than a fifth
    is measured again, at most as often as there are slices.
    """
    found: list[float] = []
    spare = slices
    while len(found) < slices:
        before, own, after = theirs(), ours(), theirs()
        if spare and abs(before - after) > SPREAD * max(before, after):
            spare -= 1
            continue
        found.append(2 * own / (before + after))
    return found


class Estimate(float):
    """A figure with the 95 % interval that slices or rounds leave it; to JSON and to arithmetic a plain number."""

    __slots__ = ("high", "low")
    low: float
    high: float

    def __new__(cls, value: float, low: float, high: float) -> Self:
        """Of `value`, which lies between `low` and `high`."""
        made = super().__new__(cls, value)
        made.low, made.high = low, high
        return made

    def __getnewargs__(self) -> tuple[float, float, float]:  # type: ignore[override]  # a float has one, this has three
        """What it is made of again where another process gave it."""
        return float(self), self.low, self.high


def median(values: Sequence[float]) -> Estimate:
    """The median of slices, with its interval."""
    return Estimate(statistics.median(values), *interval(values))


def interval(values: Sequence[float], draws: int = 2000, seed: int = 1) -> tuple[float, float]:
    """The 95 % bootstrap interval of the median."""
    rng = random.Random(seed)  # noqa: S311 (no secret)
    medians = sorted(statistics.median(rng.choices(values, k=len(values))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws)]


def told(values: Sequence[float]) -> str:
    """The median of slices with its interval, for people."""
    found = median(values)
    return f"{found:.3f} ({found.low:.3f} to {found.high:.3f}, {len(values)} slices)"
