"""The whole vibration vector of four channels of a second at 20.48 kHz: what it costs of a processor, in blocks."""

from statistics import median
from time import thread_time

import numpy as np

from edge_agent.inference.vibration.kit import Kit
from edge_protocol.contract import Bearing, Vibration, WindowInput

CHANNELS, LENGTH, BLOCKS = 4, 20_480, 40
BEARING = Bearing(balls=9, ball_mm=7.94, pitch_mm=39.04)
CASES = {
    "band given": Vibration(shaft_hz=29.5, bearing=BEARING, gear_teeth=23, envelope_hz=(2_000.0, 4_500.0)),
    "band chosen": Vibration(shaft_hz=29.5, bearing=BEARING, gear_teeth=23),
    "speed measured": Vibration(speed_channel="speed", bearing=BEARING, gear_teeth=23, envelope_hz=(2_000.0, 4_500.0)),
}


def measure() -> dict[str, tuple[float, float]]:
    """Median and least milliseconds of processor time of each case, their blocks taken in turns."""
    rows = np.random.default_rng(0).normal(size=(2, LENGTH))
    rows[1] = 29.5
    kits = {name: Kit(_contract(about)) for name, about in CASES.items()}
    spent: dict[str, list[float]] = {name: [] for name in kits}
    for _ in range(BLOCKS):
        for name, kit in kits.items():
            given = rows[: len(kit.channels)]
            began = thread_time()
            for _channel in range(CHANNELS):
                kit.vector(given)
            spent[name].append((thread_time() - began) * 1e3)
    return {name: (median(values), min(values)) for name, values in spent.items()}


def report() -> list[str]:
    """A line for each case."""
    return [
        f"vibration vector, {CHANNELS} channels of 1 s at 20.48 kHz, {name}: {usual:.1f} ms (least {least:.1f})"
        for name, (usual, least) in measure().items()
    ]


def _contract(about: Vibration) -> WindowInput:
    return WindowInput(tensor="x", length=LENGTH, rate_hz=float(LENGTH), features="vibration", vibration=about)
