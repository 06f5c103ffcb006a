"""A contract comes in, a function from windows to feature vectors goes out, with all that can be made beforehand.

Of the rows that are given, the window and further axes come first, then the speed in hertz where it is measured, then
the context channels.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edge_agent.inference.vibration import envelope, orders, spectrum
from edge_agent.inference.vibration.bearing import fault_orders
from edge_agent.inference.vibration.spectrum import Transform
from edge_agent.inference.vibration.time_domain import time_features
from edge_protocol.contract import Vibration, WindowInput
from edge_protocol.features import FAULTS, feature_names, is_speed_known, log_bins

Window: TypeAlias = npt.NDArray[np.float64]

MIN_TURNS = 4.0
"""Of the shaft in one window: with fewer, orders cannot be told apart, and what belongs to them is zero."""

SLIP = 0.02
"""Balls slip: a fault strikes up to this share off the order that geometry says."""

SYNCHRONOUS = 0.005
"""Shafts and gears do not slip, but speeds are measured with this error."""

_SIDEBANDS = {"bpfo": "shaft", "bpfi": "shaft", "bsf": "ftf", "ftf": "shaft"}
"""What modulates each fault: a spot of a race passes the load, or a ball is carried through it by its cage."""


class Kit:
    """The feature vector of one contract. It keeps buffers and so belongs to one thread at a time."""

    def __init__(self, contract: WindowInput) -> None:
        """Of a contract of other features it knows the channel only."""
        self._length = contract.length
        self._rate_hz = contract.rate_hz
        self._step_hz = contract.rate_hz / contract.length
        self._about = contract.vibration or Vibration()
        self._bins = log_bins(contract.length, self._about.bands)
        given = self._about.envelope_hz
        bands = (given,) if given is not None else envelope.candidate_bands(contract.rate_hz)
        places = (envelope.band_bins(band, contract.length, contract.rate_hz) for band in bands)
        self._filters = [envelope.Filter(contract.length, place) for place in places]
        self._transform = Transform(contract.length)
        self._rings = {each.points: Transform(each.points) for each in self._filters}
        self._work = np.empty((2, contract.length))
        self._lines = np.empty(contract.length // 2 + 1, np.complex128)
        self._orders = fault_orders(self._about.bearing) if self._about.bearing is not None else {}
        self._has_orders = is_speed_known(self._about)
        self.axes = 1 + len(self._about.axes)
        beside = (self._about.speed_channel, *self._about.context)
        self.channels = tuple(filter(None, (contract.channel, *self._about.axes, *beside)))
        self.size = len(feature_names(contract))

    def vector(self, rows: Window) -> Window:
        """The features [size] of rows [channels, length], or of a window [length] where there is one channel.

        Values whose squares overflow give features that are not finite, which whoever writes the tensor refuses.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            return self._vector(rows.reshape(-1, self._length))

    def _vector(self, rows: Window) -> Window:
        turns = self._turns(rows)
        found = [value for window in rows[: self.axes] for value in self._axis(window, turns)]
        return np.array([*found, *(float(row.mean()) for row in rows[self.axes :])])

    def _axis(self, window: Window, turns: Window | None) -> list[float]:
        about = self._about
        self._transform.take(window)
        density = self._transform.density(self._rate_hz)
        found = [
            *time_features(window, self._work),
            spectrum.velocity_rms(density, self._step_hz, about.velocity_hz, about.unit),
            *spectrum.band_energies(density, self._rate_hz, self._bins),
            *spectrum.centroid_and_entropy(density, self._step_hz),
        ]
        # Before the shaft: its orders may need the place of the window's own spectrum.
        ringing = self._envelope(window, turns)
        if self._has_orders:
            found += self._shaft(window, turns)
        return [*found, *ringing]

    def _turns(self, rows: Window) -> Window | None:
        """Turns of the shaft at each sample where its speed is measured."""
        return orders.phase(np.abs(rows[self.axes]), self._rate_hz) if self._about.speed_channel else None

    def _shaft(self, window: Window, turns: Window | None) -> list[float]:
        """Amplitudes of the shaft's orders and the gear's."""
        teeth = self._about.gear_teeth
        places = [1.0, 2.0, 3.0]
        if teeth:
            places += [teeth, 2 * teeth, teeth - 2, teeth - 1, teeth + 1, teeth + 2]
        step = self._order_step(turns)
        if step is None:
            return [0.0] * (6 if teeth else 3)
        if turns is not None:
            angles = orders.at_equal_angles(turns, self._length)
            self._transform.take(orders.interpolate(window, angles, self._work[0]))
        lines = self._transform.amplitudes()
        found = [spectrum.amplitude_at(lines, step, place, SYNCHRONOUS) for place in places]
        return [*found[:5], sum(found[5:])] if teeth else found

    def _envelope(self, window: Window, turns: Window | None) -> list[float]:
        """Size and impulsiveness of the envelope, and the bearing's faults in it."""
        np.subtract(window, window.mean(), out=self._work[0])
        np.fft.rfft(self._work[0], out=self._lines)
        candidates = [each.take(self._lines) for each in self._filters]
        kurtoses = [envelope.kurtosis(each) for each in candidates]
        best = int(np.argmax(kurtoses))
        signal = candidates[best]
        found = [float(np.sqrt(np.square(signal).mean())), kurtoses[best]]
        return found + self._bearing(signal, turns) if self._orders else found

    def _bearing(self, signal: Window, turns: Window | None) -> list[float]:
        step = self._order_step(turns)
        if step is None:
            return [0.0] * (5 * len(FAULTS))
        if turns is not None:
            places = orders.at_equal_angles(turns, signal.size) * (signal.size / self._length)
            signal = orders.interpolate(signal, places)
        transform = self._rings[signal.size]
        transform.take(signal)
        lines = transform.amplitudes()
        top = 3.5 * max(self._orders.values())
        low, high = max(round(min(self._orders.values()) / 2 / step), 1), min(round(top / step), lines.size)
        floor = float(np.median(lines[low:high])) if high > low else 0.0
        found: list[float] = []
        for fault in FAULTS:
            order, side = self._orders[fault], self._orders.get(_SIDEBANDS[fault], 1.0)
            peaks = [spectrum.amplitude_at(lines, step, n * order, SLIP) for n in (1, 2, 3)]
            beside = [spectrum.amplitude_at(lines, step, place, SLIP) for place in (order - side, order + side)]
            found += [*peaks, sum(beside), sum(peaks) / 3 / floor if floor > 0 else 0.0]
        return found

    def _order_step(self, turns: Window | None) -> float | None:
        """Orders from bin to bin; None where the shaft hardly turns."""
        total = float(turns[-1]) if turns is not None else self._about.shaft_hz * self._length / self._rate_hz
        return 1 / total if total >= MIN_TURNS else None
