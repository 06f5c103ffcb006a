"""Numbers in time are those of scipy, and say what they are said to say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from edge_agent.inference.vibration.time_domain import time_features
from edge_protocol.features import TIME


def named(window: np.ndarray) -> dict[str, float]:
    """The features by name."""
    return dict(zip(TIME, time_features(window), strict=True))


def test_moments_are_scipys() -> None:
    """Skewness and kurtosis (of a normal distribution: 3), and numpy's mean, deviation and range."""
    window = np.random.default_rng(1).gamma(2.0, 3.0, 5000)

    found = named(window)

    assert found["skewness"] == pytest.approx(stats.skew(window))
    assert found["kurtosis"] == pytest.approx(stats.kurtosis(window, fisher=False))
    assert found["std"] == pytest.approx(window.std())
    assert found["peak_to_peak"] == pytest.approx(np.ptp(window))
    assert found["rms"] == pytest.approx(np.sqrt(np.mean(window**2)))


def test_a_sine_has_the_factors_of_textbooks() -> None:
    """Crest √2, shape π/2√2, impulse π/2, and a kurtosis of 1.5."""
    found = named(5 + 2 * np.sin(2 * np.pi * 10 * np.arange(100_000) / 100_000))

    wanted = {"mean": 5, "peak": 2, "crest": 2**0.5, "shape": np.pi / 2**1.5, "impulse": np.pi / 2, "kurtosis": 1.5}
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, rel=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-5, 1e5), st.floats(-100, 100), st.integers(0, 2**32 - 1))
def test_factors_change_neither_with_scale_nor_with_offset(scale: float, offset: float, seed: int) -> None:
    """The last six have no unit and know no offset."""
    window = np.random.default_rng(seed).normal(size=200)

    moved = time_features(offset * scale + window * scale)

    np.testing.assert_allclose(moved[5:], time_features(window)[5:], rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.floats(-1e6, 1e6), st.integers(2, 3000))
def test_a_constant_has_no_shape(level: float, length: int) -> None:
    """A dead sensor: mean and rms are its level, all else is zero, and nothing is divided by nothing."""
    found = time_features(np.full(length, level))

    assert found[0] == pytest.approx(level)
    assert found[1] == pytest.approx(abs(level))
    assert found[2:] == (0.0,) * 9
