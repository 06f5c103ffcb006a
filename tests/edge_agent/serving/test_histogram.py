import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.serving.histogram import BUCKETS_S, Histogram


@given(st.lists(st.floats(0, 100), max_size=50))
def test_a_histogram_is_cumulative_and_complete(seconds: list[float]) -> None:
    """Each bound counts everything up to it, the last everything; the sum is that of all."""
    histogram = Histogram()

    for each in seconds:
        histogram.observe(each)
    buckets, sum_s = histogram.told()

    bounds = [float(bound) for bound, _ in buckets]
    assert [count for _, count in buckets] == [sum(each <= bound for each in seconds) for bound in bounds]
    assert sum_s == pytest.approx(sum(seconds))


def test_the_bounds_reach_from_nothing_to_a_standstill() -> None:
    """From 0.05 ms to 5 s in steps that grow by no more than two and a half."""
    assert (BUCKETS_S[0], BUCKETS_S[-1]) == (0.00005, 5.0)
    assert all(1.9 < b / a < 2.6 for a, b in pairwise(BUCKETS_S))


def test_threads_lose_nothing_to_each_other() -> None:
    """Without a lock each thread counts for itself, and together they count all."""
    histogram = Histogram()
    begin = threading.Barrier(4)

    def count() -> None:
        begin.wait()
        for _ in range(5000):
            histogram.observe(0.003)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert histogram.told()[0][-1] == ("+Inf", 20_000)
