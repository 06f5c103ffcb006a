"""Machines that do not exist: a bearing with a known fault, a shaft, a gear, with noise and at any speed.

The signal of a bearing's fault is that of McFadden and Smith (1984) as Randall and Antoni (2011) tell it: each strike
of a ball excites a resonance that dies away; balls slip, so the strikes do not keep time exactly; on what turns, they
are louder in the load zone.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_agent.inference.vibration.bearing import fault_orders
from edge_protocol.contract import Bearing, Vibration, WindowInput

Floats = npt.NDArray[np.float64]

BEARING = Bearing(balls=9, ball_mm=7.94, pitch_mm=39.04)
"""A deep-groove ball bearing, as the 6205."""

ORDERS = fault_orders(BEARING)
RATE_HZ = 20_480.0
SHAFT_HZ = 29.5
RESONANCE_HZ = 3_200.0
MODULATED_BY = {"bpfi": 1.0, "bsf": ORDERS["ftf"]}
"""What turns with the load zone, and at which order it passes it."""


@dataclass(frozen=True)
class Machine:
    """What runs: its speed over a window, the fault of its bearing, and how loud each thing is."""

    fault: str = ""
    strikes: float = 4.0
    noise: float = 1.0
    slip: float = 0.01
    shaft: float = 0.5
    teeth: int = 0
    mesh: float = 0.0
    resonance_hz: float = RESONANCE_HZ

    def run(self, seed: int, length: int = 20_480, speed_hz: Floats | float = SHAFT_HZ) -> Floats:
        """A window of acceleration."""
        rng = np.random.default_rng(seed)
        speed = np.broadcast_to(np.asarray(speed_hz, float), (length,))
        turns = np.cumsum(speed) / RATE_HZ + rng.random()
        window = rng.normal(0, self.noise, length) + self.shaft * np.cos(2 * np.pi * turns)
        if self.teeth:
            beat = 1 + 0.5 * np.cos(2 * np.pi * turns) + 0.25 * np.cos(4 * np.pi * turns)
            window += self.mesh * beat * np.cos(2 * np.pi * self.teeth * turns)
        return window + self._strikes(turns, rng) if self.fault else window

    def _strikes(self, turns: Floats, rng: np.random.Generator) -> Floats:
        """Impulses at each strike, through the resonance."""
        order = ORDERS[self.fault]
        gaps = (1 + rng.normal(0, self.slip, int((turns[-1] - turns[0]) * order) + 8)) / order
        places = np.interp(turns[0] + np.cumsum(gaps), turns, np.arange(turns.size), right=np.inf)
        impulses = np.zeros(turns.size)
        for place in places[places < turns.size]:
            loud = 1.0
            if self.fault in MODULATED_BY:
                loud += 0.7 * np.cos(2 * np.pi * MODULATED_BY[self.fault] * turns[int(place)])
            impulses[int(place)] += loud * self.strikes
        at = np.arange(int(0.01 * RATE_HZ)) / RATE_HZ
        ringing = np.exp(-900 * at) * np.sin(2 * np.pi * self.resonance_hz * at)
        return np.convolve(impulses, ringing)[: turns.size]


def contract(**changes: object) -> WindowInput:
    """A second of the machine, its bearing known."""
    about = {"shaft_hz": SHAFT_HZ, "bearing": BEARING, "envelope_hz": (2_000.0, 4_500.0)} | changes
    return WindowInput(
        tensor="features", length=20_480, rate_hz=RATE_HZ, features="vibration", vibration=Vibration(**about)
    )
