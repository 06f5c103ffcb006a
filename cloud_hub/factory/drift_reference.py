"""Signals of good parts come in, the bundle's drift reference goes out."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from edge_protocol.counters import Reference, SignalReference, count, make_signal

_NARROW = 0.005
"""A signal that spreads less than this share of its median is monitored on fixed edges: its own would be rounding."""

_STEPS = (-0.5, -0.2, -0.1, -0.05, -0.02, 0.02, 0.05, 0.1, 0.2, 0.5)


def make_reference(signals: Mapping[str, npt.NDArray[np.float64]], bins: int = 16) -> Reference:
    """The reference of all signals that can be monitored: those that vary, and those that are steady but not zero."""
    made = [_make_signal(name, values, bins) for name, values in signals.items()]
    return Reference(tuple(signal for signal in made if signal is not None))


def make_steady_reference(signals: Mapping[str, npt.NDArray[np.float64]]) -> Reference:
    """The reference of signals above zero on fixed edges around their medians.

    For recordings of minutes: on edges of its own spread, every other hour of the day would be drift.
    """
    return Reference(tuple(_make_steady(name, values) for name, values in signals.items()))


def _make_steady(name: str, values: npt.NDArray[np.float64]) -> SignalReference:
    median = float(np.median(values))
    edges = sorted(median * (1 + step) for step in _STEPS)
    return SignalReference(name, tuple(edges), tuple(count(edges, values).tolist()))


def _make_signal(name: str, values: npt.NDArray[np.float64], bins: int) -> SignalReference | None:
    low, median, high = np.quantile(values, [0.01, 0.5, 0.99])
    if high - low > _NARROW * abs(median):
        return make_signal(name, values, bins)
    if median == 0:
        return None
    return _make_steady(name, values)
