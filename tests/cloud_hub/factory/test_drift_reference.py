import numpy as np

from cloud_hub.factory.drift_reference import make_reference
from edge_protocol import counters, statistics

RNG = np.random.default_rng(14)


def findings(reference: counters.Reference, values: np.ndarray) -> float:
    """The PSI of values against the one signal of a reference."""
    (signal,) = reference.signals
    return statistics.psi(np.array(signal.counts), counters.count(signal.edges, values))


def test_a_signal_that_varies_has_bins_of_equal_count() -> None:
    """Two thousand values in sixteen bins are 125 each; the same distribution is quiet, another is not."""
    reference = make_reference({"x": RNG.normal(size=2000)})

    assert set(reference.signals[0].counts[:-1]) == {125}
    assert findings(reference, RNG.normal(size=500)) < 0.1
    assert findings(reference, RNG.normal(0.7, size=500)) > 0.25


def test_a_steady_signal_is_watched_on_fixed_steps() -> None:
    """A signal that only varies by rounding is quiet under other rounding, and drifts when it changes by a tenth."""
    reference = make_reference({"rms": 0.999 + 1e-9 * RNG.normal(size=2000)})

    assert findings(reference, 0.999 + 1e-6 * RNG.normal(size=500)) < 0.05
    assert findings(reference, 0.9 * (0.999 + 1e-9 * RNG.normal(size=500))) > 0.25


def test_a_negative_steady_signal_has_ascending_edges() -> None:
    """Steps around a value below zero ascend too."""
    edges = make_reference({"x": np.full(100, -2.0)}).signals[0].edges

    assert list(edges) == sorted(edges)


def test_a_signal_that_is_always_zero_is_not_watched() -> None:
    """There is no step of nothing."""
    assert make_reference({"x": np.zeros(100)}).signals == ()
