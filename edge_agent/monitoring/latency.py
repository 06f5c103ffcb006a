"""How long verdicts took: each latency falls in a fixed bucket, and quantiles come out at most 5 % too high."""

from bisect import bisect_left
from itertools import accumulate

LEAST_US = 100
MOST_US = 60_000_000
RATIO = 1.05


def _make_edges() -> tuple[float, ...]:
    edges = [float(LEAST_US)]
    while edges[-1] < MOST_US:
        edges.append(edges[-1] * RATIO)
    return tuple(edges)


EDGES_US = _make_edges()
"""Upper ends of the buckets; one more bucket holds what is above the last."""


class Latency:
    """Counts per bucket since it was made. One thread adds, any may ask."""

    def __init__(self) -> None:
        self._counts = [0] * (len(EDGES_US) + 1)
        self._most_us = 0

    @property
    def n(self) -> int:
        """How many latencies were added."""
        return sum(self._counts)

    def add(self, us: int) -> None:
        """Count one latency."""
        self._counts[bisect_left(EDGES_US, us)] += 1
        self._most_us = max(self._most_us, us)

    def quantile_ms(self, share: float) -> float:
        """What `share` of all stayed within: the upper end of its bucket, or the largest seen; 0 where none was."""
        counts = list(self._counts)
        wanted = share * sum(counts)
        if not wanted:
            return 0.0
        index = next((i for i, below in enumerate(accumulate(counts)) if below >= wanted), len(EDGES_US))
        edge_us = EDGES_US[index] if index < len(EDGES_US) else self._most_us
        return min(edge_us, self._most_us) / 1000

    @property
    def p50_ms(self) -> float:
        """The median."""
        return self.quantile_ms(0.50)

    @property
    def p99_ms(self) -> float:
        """What one in a hundred exceeds."""
        return self.quantile_ms(0.99)
