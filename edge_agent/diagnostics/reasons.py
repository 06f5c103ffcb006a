"""A window's features and signals come in, those that stand out most from the good ones go out."""

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from edge_protocol.counters import Reference, SignalReference
from edge_protocol.messages import ExplainedFeature

Floats = npt.NDArray[np.float64]

MOST = 5
"""Reasons that are told of a window."""

_MIDDLE = 50.0


class Ranks:
    """Where values stand among good ones, by the histograms of a reference; all at once."""

    def __init__(self, signals: Sequence[SignalReference]) -> None:
        self.names = tuple(signal.name for signal in signals)
        width = max((len(signal.edges) for signal in signals), default=0)
        self._edges = np.full((len(signals), width), np.inf)
        # Per cent of the good ones below each bin, and one more: those that are not finite stand nowhere.
        self._below = np.full((len(signals), width + 2), 100.0)
        for row, signal in enumerate(signals):
            counts = np.array(signal.counts[:-1], np.float64)
            self._edges[row, : len(signal.edges)] = signal.edges
            self._below[row, : counts.size] = (np.cumsum(counts) - counts) * (100 / max(counts.sum(), 1))

    def of(self, values: Floats) -> Floats:
        """The percentile of each value: the end of its bin that is nearer to the middle; NaN for what is not finite."""
        bins = (self._edges <= values[:, None]).sum(axis=1)
        rows = np.arange(values.size)
        low, high = self._below[rows, bins], self._below[rows, bins + 1]
        nearer = np.where(low >= _MIDDLE, low, np.where(high <= _MIDDLE, high, _MIDDLE))
        return np.where(np.isfinite(values), nearer, np.nan)


class Teller:
    """The reasons of one bundle's windows: `names` of its features, and the mean and deviation they were scaled by."""

    def __init__(
        self, reference: Reference | None, names: Sequence[str], mean: Sequence[float] = (), std: Sequence[float] = ()
    ) -> None:
        known = {} if reference is None else {signal.name: signal for signal in reference.signals}
        if reference is not None and reference.features is not msgspec.UNSET:
            known |= {signal.name: signal for signal in reference.features}
        self._names = tuple(names)
        self._mean = np.array(mean or 0.0)
        self._std = np.array(std or 1.0)
        self._is_scaled = bool(std)
        self._ranks = Ranks(tuple(known.values()))

    def tell(
        self,
        signals: Mapping[str, float],
        features: npt.NDArray[np.float32] | None = None,
        parts: npt.NDArray[np.float32] | None = None,
    ) -> tuple[ExplainedFeature, ...]:
        """The features and signals that stand out most. Where the model tells what each adds, the largest of those."""
        scaled = self._row(features)
        found = {**signals, **dict(zip(self._names, (scaled * self._std + self._mean).tolist(), strict=False))}
        values = {name: value for name, value in found.items() if name != "score" and math.isfinite(value)}
        known = np.array([values.get(name, math.nan) for name in self._ranks.names])
        percentiles = dict(zip(self._ranks.names, self._ranks.of(known).tolist(), strict=True))
        added = dict(zip(self._names, self._row(parts).tolist(), strict=False))
        far = dict(zip(self._names, np.abs(scaled).tolist(), strict=False)) if self._is_scaled else {}

        def weight(name: str) -> tuple[float, float, float]:
            percentile = percentiles.get(name, math.nan)
            # Without a histogram, as if it were normally distributed.
            guess = _MIDDLE * math.erf(far.get(name, 0.0) / math.sqrt(2))
            rank = guess if math.isnan(percentile) else abs(percentile - _MIDDLE)
            return added.get(name, 0.0), rank, far.get(name, 0.0)

        first = sorted(values, key=weight, reverse=True)[:MOST]
        return tuple(
            ExplainedFeature(
                name=name,
                value=values[name],
                percentile=None if math.isnan(percentile := percentiles.get(name, math.nan)) else percentile,
                part=added.get(name),
            )
            for name in first
        )

    def value(self, name: str, features: npt.NDArray[np.float32] | None) -> float | None:
        """A feature in its own unit."""
        if name not in self._names or not (scaled := self._row(features)).size:
            return None
        return float((scaled * self._std + self._mean)[self._names.index(name)])

    def _row(self, values: npt.NDArray[np.float32] | None) -> Floats:
        """One value per name; nothing where there is none, or another number of them."""
        if values is None or values.size != len(self._names):
            return np.empty(0)
        return values.astype(np.float64).reshape(-1)
