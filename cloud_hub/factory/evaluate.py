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

ESCAPES, OVERKILLS = (0.0, 0.001, 0.01), (0.005, 0.02)
"""Limits at which the other error is told."""

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


@dataclass(frozen=True, slots=True)
class Labelled:
    """Scores of parts of which it is known whether they are good."""

    good: Scores
    bad: Scores


def trade_offs(chosen: Labelled, tested: Labelled) -> dict[str, Figure]:
    """What a limit on one error costs of the other: thresholds are set on `chosen`, both errors counted on `tested`."""
    found = {}
    for escape in ESCAPES:
        threshold = _for_escape(chosen.bad, escape)
        found[f"overkill, set for escape {escape:.1%}"] = share(int((tested.good >= threshold).sum()), len(tested.good))
        found[f"escape, set for escape {escape:.1%}"] = share(int((tested.bad < threshold).sum()), len(tested.bad))
    for overkill in OVERKILLS:
        threshold = _for_overkill(chosen.good, overkill)
        found[f"escape, set for overkill {overkill:.1%}"] = share(int((tested.bad < threshold).sum()), len(tested.bad))
        found[f"overkill, set for overkill {overkill:.1%}"] = share(
            int((tested.good >= threshold).sum()), len(tested.good)
        )
    return found


def point_for(chosen: Labelled, *, escape: float, overkill: float) -> OperatingPoint:
    """NG where at most a share `overkill` of the good ones is; OK where at most a share `escape` of the bad ones is."""
    reject = _for_overkill(chosen.good, overkill)
    accept = min(reject, _for_escape(chosen.bad, escape))
    return OperatingPoint(accept=round(accept, 4), reject=round(reject, 4))


def figures(good: Scores, bad: Scores, point: OperatingPoint, rng: np.random.Generator) -> dict[str, Figure]:
    """All of `FIGURES`."""
    return {
        "auroc": auroc_figure(good, bad, rng),
        "overkill": share(int((good >= point.reject).sum()), len(good)),
        "review": share(int(((good >= point.accept) & (good < point.reject)).sum()), len(good)),
        "escape": share(int((bad < point.accept).sum()), len(bad)),
    }


def _for_escape(bad: Scores, limit: float) -> float:
    """The highest threshold that lets at most a share `limit` of defective parts pass."""
    return float(np.sort(bad)[int(limit * len(bad))])


def _for_overkill(good: Scores, limit: float) -> float:
    """The lowest threshold that stops at most a share `limit` of good parts."""
    return float(np.nextafter(np.sort(good)[-1 - int(limit * len(good))], np.inf))
