"""By angle, what turns with the shaft stands still, however the speed changes."""

import numpy as np
import pytest

from edge_agent.inference.vibration import orders, spectrum

RATE = 10_240.0
LENGTH = 20_480


def test_turns_are_the_integral_of_the_speed() -> None:
    """Of a speed that rises evenly, the turns are those of the trapezium."""
    speed = np.linspace(10.0, 30.0, LENGTH)

    turns = orders.phase(speed, RATE)

    assert turns[0] == 0
    assert turns[-1] == pytest.approx(20.0 * (LENGTH - 1) / RATE)


@pytest.mark.parametrize("order", [1.0, 3.0, 17.0])
@pytest.mark.parametrize("change", [0.0, 0.3, 1.0])
def test_an_order_is_one_line_at_any_speed(order: float, change: float) -> None:
    """A wave of an order under a speed that rises by up to its double: one line of its amplitude, at its order."""
    speed = 20.0 * np.linspace(1, 1 + change, LENGTH)
    turns = orders.phase(speed, RATE)
    window = 2.0 * np.cos(2 * np.pi * order * turns + 0.4)

    lines = spectrum.amplitudes(orders.resample(window, turns, LENGTH))

    step = 1 / turns[-1]
    assert lines.argmax() * step == pytest.approx(order, abs=1.5 * step)
    # Between two bins the Hann window loses up to 15 %.
    assert spectrum.amplitude_at(lines, step, order, 0.005) == pytest.approx(2.0, rel=0.16)


def test_without_angles_the_line_is_smeared() -> None:
    """What order tracking is for: the plain spectrum of the same wave has no such line."""
    turns = orders.phase(20.0 * np.linspace(1, 2, LENGTH), RATE)

    lines = spectrum.amplitudes(2.0 * np.cos(2 * np.pi * 5 * turns))

    assert lines.max() < 0.7


@pytest.mark.parametrize(("share", "error"), [(0.02, 2e-4), (0.1, 0.02)])
def test_between_samples_a_wave_is_itself(share: float, error: float) -> None:
    """A sine of a share of the rate, read between its samples, is off by no more than is said."""
    at = np.arange(2000, dtype=float)
    places = np.linspace(3, 1990, 5000)

    found = orders.interpolate(np.sin(2 * np.pi * share * at), places)

    assert np.abs(found - np.sin(2 * np.pi * share * places)).max() < error
