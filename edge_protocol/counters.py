"""Exact integer counters on the edges that a bundle ships: they merge, subtract and serialise without a rounding.

A signal with k edges has k + 2 bins: below the first edge, between edges (left-closed), at or above the last, and one
for what is not finite. All counts are int64; all functions are pure.
"""

import hashlib
import math
from typing import Annotated, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from edge_protocol.errors import DecodeError, EdgesMismatch
from edge_protocol.messages import Count

Counts: TypeAlias = npt.NDArray[np.int64]

MAX_REFERENCE_BYTES = 1024 * 1024
MAX_EDGES = 1000
SCHEMA = 1


class SignalReference(msgspec.Struct, frozen=True):
    """A monitored quantity: its name, ascending bin edges and the counts of good samples, length `len(edges) + 2`."""

    name: str
    edges: Annotated[tuple[float, ...], Meta(min_length=1, max_length=MAX_EDGES)]
    counts: tuple[Count, ...]

    def __post_init__(self) -> None:
        ascend = all(low < high for low, high in zip(self.edges, self.edges[1:], strict=False))
        if not self.edges or not ascend or not all(map(math.isfinite, self.edges)):
            message = f"signal {self.name!r}: edges must be finite and ascend"
            raise ValueError(message)
        if len(self.counts) != len(self.edges) + 2 or min(self.counts) < 0:
            message = f"signal {self.name!r}: needs {len(self.edges) + 2} counts of zero or more"
            raise ValueError(message)


class Reference(msgspec.Struct, frozen=True):
    """What a bundle's signals looked like on good parts. Its digest names it in every pane.

    `features` are what the model itself looks at: nobody watches them for drift, reasons are told by them.
    """

    signals: tuple[SignalReference, ...]
    schema: int = 1
    features: tuple[SignalReference, ...] | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        for field, signals in (("signals", self.signals), ("features", self.features)):
            names = [] if signals is msgspec.UNSET else [signal.name for signal in signals]
            if len(set(names)) != len(names):
                message = f"{field}: each name once, not {', '.join(names)}"
                raise ValueError(message)

    def canonical(self) -> bytes:
        """The one JSON form: this field order, shortest round-trip floats, no spaces."""
        return msgspec.json.encode(self)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes without the features, hex: it names the edges that are counted on."""
        counted = msgspec.structs.replace(self, features=msgspec.UNSET)
        return hashlib.sha256(counted.canonical()).hexdigest()


def load_reference(raw: bytes) -> Reference:
    """The reference in `raw`.

    Raises:
        DecodeError: not a reference, of a later schema, too large, or edges and counts that do not fit each other.
    """
    if len(raw) > MAX_REFERENCE_BYTES:
        message = f"the drift reference has {len(raw)} bytes, at most {MAX_REFERENCE_BYTES} are taken"
        raise DecodeError(message)
    try:
        reference = msgspec.json.decode(raw, type=Reference)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        message = f"not a drift reference: {error}"
        raise DecodeError(message) from error
    if reference.schema != SCHEMA:
        message = f"schema {reference.schema} of a drift reference is not known here; update this side"
        raise DecodeError(message)
    return reference


def make_signal(name: str, values: npt.ArrayLike, bins: int = 16) -> SignalReference:
    """A reference of `bins` bins of equal count on `values`; ties may leave fewer.

    Raises:
        ValueError: fewer than two distinct finite values.
    """
    array = np.asarray(values, np.float64).ravel()
    finite = array[np.isfinite(array)]
    edges = np.unique(np.quantile(finite, np.linspace(0, 1, bins + 1)[1:-1])) if finite.size else finite
    # The lowest value as an edge would leave the bin below it empty on the reference for ever.
    edges = edges[edges > finite.min()] if finite.size else edges
    if not edges.size:
        message = f"signal {name!r} has fewer than two distinct values: nothing to monitor"
        raise ValueError(message)
    return SignalReference(name, tuple(edges.tolist()), tuple(count(edges, array).tolist()))


TAILS = (0.001, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.999)


def make_feature(name: str, values: npt.ArrayLike) -> SignalReference:
    """A reference whose bins are narrow where reasons are told: in the tails, and beyond all of `values`.

    Raises:
        ValueError: fewer than two distinct finite values.
    """
    array = np.asarray(values, np.float64).ravel()
    finite = array[np.isfinite(array)]
    edges = np.unique(np.quantile(finite, [0, *TAILS, 1])) if finite.size else finite
    if edges.size < 2:
        message = f"feature {name!r} has fewer than two distinct values: nothing stands out from it"
        raise ValueError(message)
    # Above the largest one, not at it: who is as large as the largest is among the good ones.
    edges[-1] = np.nextafter(edges[-1], np.inf)
    return SignalReference(name, tuple(edges.tolist()), tuple(count(edges, array).tolist()))


def empty(edges: npt.ArrayLike) -> Counts:
    """No counts yet on these edges."""
    return np.zeros(np.asarray(edges).size + 2, np.int64)


def count(edges: npt.ArrayLike, values: npt.ArrayLike) -> Counts:
    """The counts of `values` (any shape) on `edges`; NaN and infinities fall in the last bin."""
    array = np.asarray(values, np.float64).ravel()
    finite = np.isfinite(array)
    counts = empty(edges)
    size = counts.size
    counts[: size - 1] = np.bincount(np.searchsorted(edges, array[finite], side="right"), minlength=size - 1)
    counts[size - 1] = array.size - int(finite.sum())
    return counts


def merge(left: Counts, right: Counts) -> Counts:
    """The counts of both together.

    Raises:
        EdgesMismatch: they were made on different numbers of bins.
        OverflowError: a sum is beyond int64; `messages.Count` keeps honest and hostile panes far from there.
    """
    total: Counts = _same(left, right)[0] + right
    if total.size and (total < left).any():
        message = "a sum of counts is beyond 2^63"
        raise OverflowError(message)
    return total


def subtract(left: Counts, right: Counts) -> Counts:
    """What remains of `left` without `right`, the inverse of `merge`.

    Raises:
        EdgesMismatch: different numbers of bins, or `right` is not part of `left`.
    """
    rest: Counts = _same(left, right)[0] - right
    if rest.size and rest.min() < 0:
        message = "the counts to subtract are not part of these"
        raise EdgesMismatch(message)
    return rest


def canonical(counts: Counts) -> bytes:
    """The one byte form of counts: little-endian unsigned 64-bit."""
    return counts.astype("<u8").tobytes()


def from_canonical(raw: bytes) -> Counts:
    """The inverse of `canonical`.

    Raises:
        DecodeError: not a whole number of counts, or one beyond int64.
    """
    if len(raw) % 8:
        message = f"{len(raw)} bytes are not 64-bit counts"
        raise DecodeError(message)
    values = np.frombuffer(raw, "<u8")
    if values.size and values.max() >= 2**63:
        message = "a count is beyond 2^63"
        raise DecodeError(message)
    return values.astype(np.int64)


def _same(left: Counts, right: Counts) -> tuple[Counts, Counts]:
    if left.shape != right.shape:
        message = f"counters of {left.size} and {right.size} bins cannot be combined"
        raise EdgesMismatch(message)
    return left, right
