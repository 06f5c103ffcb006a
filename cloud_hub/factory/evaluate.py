"""Parts are judged by the production model, and the scores of good and defective ones become figures with intervals.

A threshold is never chosen here: the operating point is given, and the parts are ones that nothing was fitted on.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, rankdata

from edge_agent.inference.model import Model
from edge_agent.sample import Channel, Sample
from edge_protocol.bundle import OperatingPoint

Scores = npt.NDArray[np.float64]

FIGURES = ("auroc", "overkill", "review", "escape")
"""Overkill: good parts called NG; review: good parts called REVIEW; escape: defective parts called OK; as shares."""

_CONFIDENCE = 0.95
_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured share or area with its 95 % interval and the number of parts it stands on."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Judged:
    """Scores and signals of parts in the order they were given."""

    scores: Scores
    signals: dict[str, Scores]


def judge_all(models: Sequence[Model], parts: Iterable[npt.NDArray[Any]]) -> Judged:
    """Judge every part by the production path, in a thread for each of the models, which are all the same."""
    arrays = list(parts)

    def judge(worker: int) -> list[tuple[float, dict[str, float]]]:
        model = models[worker]
        samples = (Sample({model.preprocessor.channel: Channel(a, 0)}) for a in arrays[worker :: len(models)])
        return [(prediction.score, signals) for prediction, signals in map(model.judge, samples)]

    with ThreadPoolExecutor(len(models)) as pool:
        shares = list(pool.map(judge, range(len(models))))
    rows = [shares[i % len(models)][i // len(models)] for i in range(len(arrays))]
    names = rows[0][1] if rows else {}
    return Judged(
        np.array([score for score, _ in rows]),
        {name: np.array([signals[name] for _, signals in rows]) for name in names},
    )


def auroc(good: Scores, bad: Scores) -> float:
    """The chance that a defective part scores above a good one; ties count half."""
    ranks = rankdata(np.concatenate([good, bad]))[len(good) :]
    return float((ranks.sum() - len(bad) * (len(bad) + 1) / 2) / (len(good) * len(bad)))


def auroc_figure(good: Scores, bad: Scores, rng: np.random.Generator) -> Figure:
    """AUROC with a percentile bootstrap over the parts."""
    areas = [
        auroc(good[rng.integers(len(good), size=len(good))], bad[rng.integers(len(bad), size=len(bad))])
        for _ in range(_RESAMPLES)
    ]
    low, high = np.quantile(areas, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return Figure(auroc(good, bad), float(low), float(high), len(good) + len(bad))


def share(count: int, n: int) -> Figure:
    """`count` of `n` with the exact interval of Clopper and Pearson (1934)."""
    tail = (1 - _CONFIDENCE) / 2
    low = float(beta.ppf(tail, count, n - count + 1)) if count else 0.0
    high = float(beta.ppf(1 - tail, count + 1, n - count)) if count < n else 1.0
    return Figure(count / n, low, high, n)


def figures(good: Scores, bad: Scores, point: OperatingPoint, rng: np.random.Generator) -> dict[str, Figure]:
    """All of `FIGURES`."""
    return {
        "auroc": auroc_figure(good, bad, rng),
        "overkill": share(int((good >= point.reject).sum()), len(good)),
        "review": share(int(((good >= point.accept) & (good < point.reject)).sum()), len(good)),
        "escape": share(int((bad < point.accept).sum()), len(bad)),
    }
