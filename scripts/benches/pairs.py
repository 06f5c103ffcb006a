"""Side by side in one run: two things are measured in short alternating slices, and what counts is the ratio."""

import random
import statistics
from collections.abc import Callable, Sequence
from time import perf_counter

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


def interval(values: Sequence[float], draws: int = 2000, seed: int = 1) -> tuple[float, float]:
    """The 95 % bootstrap interval of the median."""
    rng = random.Random(seed)  # noqa: S311 (no secret)
    medians = sorted(statistics.median(rng.choices(values, k=len(values))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws)]


def told(values: Sequence[float]) -> str:
    """The median of slices with its interval, for people."""
    low, high = interval(values)
    return f"{statistics.median(values):.3f} ({low:.3f} to {high:.3f}, {len(values)} slices)"
