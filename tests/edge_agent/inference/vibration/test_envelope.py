"""Envelopes are those of scipy's analytic signal."""

import numpy as np
import pytest
from scipy import signal, stats

from edge_agent.inference.vibration import envelope
from tests.edge_agent.inference.vibration.machines import RATE_HZ, Machine

RNG = np.random.default_rng(6)


@pytest.mark.parametrize("length", [16, 17, 1000, 1001])
def test_the_analytic_signal_is_scipys(length: int) -> None:
    """To rounding, for odd and even lengths."""
    window = RNG.normal(2, 1, length)

    np.testing.assert_allclose(envelope.hilbert(window), signal.hilbert(window), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("length", [4096, 5000, 4095])
def test_the_envelope_of_a_band_is_that_of_scipy_at_its_places(length: int) -> None:
    """Band-pass by the spectrum, scipy's analytic signal, its magnitude at every n/m-th sample: the same numbers."""
    window = RNG.normal(size=length)
    first, last = 200, 451
    spectrum = np.fft.rfft(window)

    found = envelope.envelope(spectrum, length, (first, last))

    banded = np.zeros_like(spectrum)
    banded[first:last] = spectrum[first:last]
    whole = np.abs(signal.hilbert(np.fft.irfft(banded, length)))
    # Brought down to zero, which changes no magnitude, scipy's resampling gives it between the samples.
    down = np.exp(-2j * np.pi * ((first + last) // 2) * np.arange(length) / length)
    between = np.abs(signal.resample(signal.hilbert(np.fft.irfft(banded, length)) * down, found.size))
    np.testing.assert_allclose(found, between, rtol=1e-8, atol=1e-10)
    assert found[0] == pytest.approx(whole[0])


def test_a_modulated_tone_has_its_modulation_as_envelope() -> None:
    """(1 + m cos) times a carrier: the envelope is 1 + m cos, exactly, where everything lies on bins."""
    at = np.arange(8000) / 8000
    wave = 1 + 0.4 * np.cos(2 * np.pi * 20 * at)
    window = wave * np.cos(2 * np.pi * 2000 * at)

    found = envelope.envelope(np.fft.rfft(window), 8000, envelope.band_bins((1500.0, 2500.0), 8000, 8000.0))

    places = np.arange(found.size) / found.size
    np.testing.assert_allclose(found, 1 + 0.4 * np.cos(2 * np.pi * 20 * places), atol=1e-10)


def test_beats_as_fast_as_the_band_is_wide_are_not_folded() -> None:
    """Two tones at both ends of the band beat with their distance, and that is where the envelope's spectrum has it."""
    first, last, length = 200, 456, 4096
    at = 2 * np.pi * np.arange(length) / length
    window = np.cos(first * at) + np.cos((last - 1) * at)

    found = envelope.envelope(np.fft.rfft(window), length, (first, last))

    lines = np.abs(np.fft.rfft(found - found.mean()))
    assert int(lines.argmax()) == last - 1 - first


@pytest.mark.parametrize("resonance_hz", [2300.0, 4000.0, 6000.0, 8400.0])
def test_the_band_of_the_resonance_is_chosen(resonance_hz: float) -> None:
    """Where a fault rings is found without being told."""
    machine = Machine("bpfo", resonance_hz=resonance_hz)

    low, high = envelope.choose_band((machine.run(seed) for seed in range(5)), RATE_HZ)

    assert low <= resonance_hz <= high


def test_the_kurtosis_is_scipys() -> None:
    """Fourth over squared second moment; a constant has none."""
    values = RNG.exponential(size=500)

    assert envelope.kurtosis(values) == pytest.approx(stats.kurtosis(values, fisher=False))
    assert envelope.kurtosis(np.full(10, 3.0)) == 0


@pytest.mark.parametrize("band_hz", [(1.0, 2.0), (0.001, 0.002), (4999.0, 5000.0), (100.0, 5000.0)])
def test_a_band_is_never_empty(band_hz: tuple[float, float]) -> None:
    """Narrower than a bin, or at the edge: at least one bin, none beyond the spectrum, never zero."""
    first, last = envelope.band_bins(band_hz, 64, 10_000.0)

    assert 1 <= first < last <= 33
