import math

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.monitoring.latency import MOST_US, RATIO, Latency


def test_nothing_measured_is_zero() -> None:
    """Before the first verdict there is no latency to speak of."""
    latency = Latency()

    assert (latency.n, latency.p50_ms, latency.p99_ms) == (0, 0.0, 0.0)


@given(st.lists(st.integers(100, MOST_US), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_never_too_low_and_hardly_too_high(latencies_us: list[int], share: float) -> None:
    """A quantile lies between the true one and 5 % above it."""
    latency = Latency()
    for us in latencies_us:
        latency.add(us)

    exact_ms = sorted(latencies_us)[math.ceil(share * len(latencies_us)) - 1] / 1000
    assert exact_ms <= latency.quantile_ms(share) * 1.000001
    assert latency.quantile_ms(share) <= exact_ms * RATIO * 1.000001


def test_what_is_out_of_range_is_counted_too() -> None:
    """A latency below the first bucket or above the last is still one of all."""
    latency = Latency()

    for us in (0, 1, 10 * MOST_US):
        latency.add(us)

    assert latency.n == 3
    assert latency.quantile_ms(1.0) == 10 * MOST_US / 1000
    assert latency.p50_ms <= 0.1
