"""Spectra are those of scipy, and of textbooks where a number is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, signal

from edge_agent.inference.vibration import spectrum

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("length", [256, 255, 1000, 2048])
def test_density_is_scipys(length: int) -> None:
    """Hann, one-sided, mean removed: to rounding what scipy.signal.periodogram gives."""
    window = RNG.normal(3, 2, length)

    _, oracle = signal.periodogram(window, 100.0, "hann", detrend="constant")

    np.testing.assert_allclose(spectrum.density(window, 100.0), oracle, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize(("length", "segment"), [(4096, 512), (5000, 500), (3001, 333)])
def test_welch_is_scipys(length: int, segment: int) -> None:
    """Half-overlapping segments, averaged."""
    window = RNG.normal(3, 2, length)

    _, oracle = signal.welch(window, 100.0, "hann", segment, segment // 2, detrend="constant")

    np.testing.assert_allclose(spectrum.welch(window, 100.0, segment), oracle, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("bin_", [5, 60, 400])
def test_a_sine_stands_with_its_amplitude(bin_: int) -> None:
    """On a bin, the amplitude is exact, whatever the offset."""
    at = np.arange(1000)
    window = 7 + 2.5 * np.sin(2 * np.pi * bin_ * at / 1000 + 0.3)

    lines = spectrum.amplitudes(window)

    assert lines[bin_] == pytest.approx(2.5)
    assert spectrum.amplitude_at(lines, 0.1, bin_ * 0.1, 0.01) == pytest.approx(2.5)


@pytest.mark.parametrize(("place", "found"), [(9.9, 0.0), (50.0, 0.0), (1e9, 0.0), (5.0, 1.0), (-3.0, 0.0), (0.0, 1.0)])
def test_beyond_the_spectrum_there_is_nothing(place: float, found: float) -> None:
    """Of a mesh above half of the rate nothing is said, and nothing fails."""
    assert spectrum.amplitude_at(np.ones(100), 0.1, place, 0.02) == found


def test_the_bands_hold_the_whole_power() -> None:
    """What the bands add up to is the mean square of the window under the Hann weights, less what lies below them."""
    window = RNG.normal(0, 3, 4096)
    density = spectrum.density(window, 1000.0)
    bins = (4, 10, 100, 2049)

    total = np.exp(spectrum.band_energies(density, 1000.0, bins)).sum()

    assert total == pytest.approx(density[4:].sum() * 1000 / 4096)
    taper = signal.get_window("hann", 4096)
    weighted = (np.square(taper * (window - window.mean())).sum() / np.square(taper).sum()).item()
    assert density.sum() * 1000 / 4096 == pytest.approx(weighted)


@pytest.mark.parametrize(("unit", "factor"), [("m/s2", 1000.0), ("g", 9806.65)])
def test_velocity_is_the_integral(unit: str, factor: float) -> None:
    """Of two sines within the band, the velocity is amplitude / (2πf) / √2 each; those outside do not count."""
    rate, at = 8192.0, np.arange(16_384) / 8192.0
    window = sum(a * np.sin(2 * np.pi * f * at) for a, f in ((3.0, 50.0), (8.0, 400.0), (50.0, 2.0), (90.0, 3000.0)))
    wanted = factor * np.hypot(3 / (2 * np.pi * 50), 8 / (2 * np.pi * 400)) / np.sqrt(2)

    found = spectrum.velocity_rms(spectrum.density(window, rate), rate / window.size, (10.0, 1000.0), unit)

    assert found == pytest.approx(wanted, rel=1e-3)


def test_velocity_is_what_integration_in_time_gives() -> None:
    """Noise of a band, integrated sample by sample by scipy: the same velocity within a few per cent."""
    rate = 4096.0
    bandpass = signal.butter(6, (40.0, 500.0), "bandpass", fs=rate, output="sos")
    window = signal.sosfiltfilt(bandpass, RNG.normal(0, 2, 65_536))
    velocity = integrate.cumulative_trapezoid(window, dx=1 / rate)
    taper = signal.get_window("hann", velocity.size)
    oracle = 1000 * np.sqrt(np.square(signal.detrend(velocity) * taper).sum() / np.square(taper).sum())

    found = spectrum.velocity_rms(spectrum.density(window, rate), rate / window.size, (10.0, 1000.0), "m/s2")

    assert found == pytest.approx(oracle, rel=0.03)


def test_a_velocity_needs_no_integration() -> None:
    """A sensor of velocity is taken as it is."""
    at = np.arange(8192) / 4096.0

    found = spectrum.velocity_rms(
        spectrum.density(2.0 * np.sin(2 * np.pi * 100 * at), 4096.0), 0.5, (10.0, 1000.0), "mm/s"
    )

    assert found == pytest.approx(np.sqrt(2), rel=1e-3)


def test_entropy_tells_a_line_from_noise() -> None:
    """One line is near zero, white noise near one; the centroid is where the line is."""
    line = spectrum.density(np.sin(2 * np.pi * 50 * np.arange(2000) / 1000), 1000.0)
    noise = spectrum.density(RNG.normal(size=2000), 1000.0)

    (centre, low), (middle, high) = (spectrum.centroid_and_entropy(each, 0.5) for each in (line, noise))

    assert (low < 0.2, high > 0.85) == (True, True)
    assert centre == pytest.approx(50, abs=0.1)
    assert middle == pytest.approx(250, rel=0.1)


@settings(max_examples=40, deadline=None)
@given(st.floats(1e-6, 1e6), st.integers(0, 2**32 - 1))
def test_what_has_no_unit_does_not_scale(scale: float, seed: int) -> None:
    """Centroid and entropy of a louder window are those of the quiet one; amplitudes scale with it."""
    window = np.random.default_rng(seed).normal(size=300)

    soft, loud = (spectrum.density(each, 10.0) for each in (window, window * scale))

    np.testing.assert_allclose(
        spectrum.centroid_and_entropy(loud, 1.0), spectrum.centroid_and_entropy(soft, 1.0), rtol=1e-6
    )
    np.testing.assert_allclose(spectrum.amplitudes(window * scale), scale * spectrum.amplitudes(window), rtol=1e-9)
