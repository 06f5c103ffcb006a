"""How far live counters are from their reference. The same pure functions judge on the gateway and on the hub."""

import math
from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from edge_protocol.codes import FindingState
from edge_protocol.counters import Counts
from edge_protocol.errors import EdgesMismatch

MIN_COUNT = 500
"""Below this many samples a finding is `insufficient`: PSI alone is then noise of about bins / n."""

PSI_DRIFT = 0.25
"""The population stability index from which the field speaks of a major shift (Siddiqi 2006)."""

Shares: TypeAlias = npt.NDArray[np.float64]

_EPSILON = 1e-15


class Finding(msgspec.Struct, frozen=True):
    """What a comparison came to. `p_value` is of Pearson's test and assumes independent samples."""

    state: FindingState
    n: int
    psi: float = 0.0
    chi2: float = 0.0
    p_value: float = 1.0


def psi(reference: Counts, live: Counts) -> float:
    """Population stability index: Σ (q - p) ln(q / p) over bins, shares smoothed by half a count.

    Raises:
        EdgesMismatch: different numbers of bins.
    """
    p, q = _shares(reference, live)
    return float(np.sum((q - p) * np.log(q / p)))


def chi_square(reference: Counts, live: Counts) -> tuple[float, float]:
    """Pearson's X² of homogeneity of the two samples and its p-value.

    Bins empty in both are left out. Source: Pearson (1900); the tail is the regularised incomplete gamma function.

    Raises:
        EdgesMismatch: different numbers of bins.
    """
    _same(reference, live)
    table = np.stack([reference, live]).astype(np.float64)
    table = table[:, table.sum(axis=0) > 0]
    total = table.sum()
    degrees = table.shape[1] - 1
    if degrees < 1 or not table.sum(axis=1).all():
        return 0.0, 1.0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / total
    statistic = float(((table - expected) ** 2 / expected).sum())
    return statistic, chi_square_tail(statistic, degrees)


def chi_square_tail(statistic: float, degrees: int) -> float:
    """P(X² ≥ statistic) for `degrees` degrees of freedom: Q(k/2, x/2) by series or continued fraction (Lentz).

    Raises:
        ValueError: fewer than one degree of freedom, or a statistic that is not a number.
    """
    if degrees < 1 or math.isnan(statistic):
        message = f"no χ² distribution has a value {statistic} with {degrees} degrees of freedom"
        raise ValueError(message)
    a, x = degrees / 2, statistic / 2
    if x <= 0 or math.isinf(x):
        return 1.0 if x <= 0 else 0.0
    scale = math.exp(-x + a * math.log(x) - math.lgamma(a))
    return max(0.0, 1.0 - scale * _series(a, x)) if x < a + 1 else min(1.0, scale * _fraction(a, x))


def compare(reference: Counts, live: Counts, *, min_count: int = MIN_COUNT, psi_drift: float = PSI_DRIFT) -> Finding:
    """The finding of one window of one signal.

    Raises:
        EdgesMismatch: different numbers of bins.
    """
    _same(reference, live)
    n = int(live.sum())
    # A reference without a sample has nothing to compare with, however much comes in.
    if n < max(min_count, 1) or not reference.sum():
        return Finding(FindingState.INSUFFICIENT, n)
    index = psi(reference, live)
    statistic, p_value = chi_square(reference, live)
    state = FindingState.DRIFT if index >= psi_drift else FindingState.OK
    return Finding(state, n, index, statistic, p_value)


def _shares(reference: Counts, live: Counts) -> tuple[Shares, Shares]:
    _same(reference, live)
    size = reference.size
    return (reference + 0.5) / (reference.sum() + 0.5 * size), (live + 0.5) / (live.sum() + 0.5 * size)


def _same(reference: Counts, live: Counts) -> None:
    if reference.shape != live.shape:
        message = f"counters of {reference.size} and {live.size} bins cannot be compared"
        raise EdgesMismatch(message)


def _series(a: float, x: float) -> float:
    term = total = 1 / a
    n = a
    while abs(term) > abs(total) * _EPSILON / 10:
        n += 1
        term *= x / n
        total += term
    return total


def _fraction(a: float, x: float) -> float:
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    result = d
    for i in range(1, 10_000):
        factor = -i * (i - a)
        b += 2
        d = 1 / (factor * d + b or tiny)
        c = b + factor / c or tiny
        step = c * d
        result *= step
        if abs(step - 1) < _EPSILON:
            break
    return result
