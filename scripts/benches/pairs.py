"""Side by side in one run: two things are measured in short alternating slices, and what counts is the ratio."""

import random
import statistics
from collections.abc import Callable, Sequence


def ratio(ours: Callable[[], float], theirs: Callable[[], float], slices: int = 15) -> float:
    """The median over slices of ours ÷ theirs, theirs being measured before and after each of ours.

    A noisy neighbour disturbs both; a slice in which the two measurements of theirs disagree by more than a fifth
    is measured again, at most as often as there are slices.
    """
    ratios: list[float] = []
    spare = slices
    while len(ratios) < slices:
        before, own, after = theirs(), ours(), theirs()
        if spare and abs(before - after) > 0.2 * max(before, after):
            spare -= 1
            continue
        ratios.append(2 * own / (before + after))
    return statistics.median(ratios)


def interval(values: Sequence[float], draws: int = 2000, seed: int = 1) -> tuple[float, float]:
    """The 95 % bootstrap interval of the median."""
    rng = random.Random(seed)  # noqa: S311 (no secret)
    medians = sorted(statistics.median(rng.choices(values, k=len(values))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws)]
