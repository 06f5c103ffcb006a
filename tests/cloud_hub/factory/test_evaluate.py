from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_hub.factory import evaluate
from cloud_hub.factory.evaluate import FIGURES, Labelled, auroc, auroc_figure, figures, judge_all, share
from edge_agent.inference.model import Model
from edge_agent.sample import Channel, Sample
from edge_protocol.bundle import OperatingPoint
from tests.edge_agent.inference import small_bundles

RNG = np.random.default_rng(13)


@pytest.mark.parametrize(
    ("good", "bad", "area"),
    [
        ([1, 2], [3, 4], 1.0),
        ([3, 4], [1, 2], 0.0),
        ([1, 2], [1, 2], 0.5),
        ([1, 1], [1, 1], 0.5),
        ([1, 3], [2, 4], 0.75),
    ],
)
def test_the_area_is_the_chance_of_the_right_order(good: list[float], bad: list[float], area: float) -> None:
    """Every pair of a good and a defective part counts one, ties half."""
    assert auroc(np.array(good), np.array(bad)) == pytest.approx(area)


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (5, 100, 0.0164, 0.1128), (1, 2, 0.0126, 0.9874)],
)
def test_intervals_are_those_of_clopper_and_pearson(count: int, n: int, low: float, high: float) -> None:
    """The exact interval, as tables have it."""
    figure = share(count, n)

    assert figure.value == count / n
    assert (figure.low, figure.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_an_interval_holds_its_area() -> None:
    """The bootstrap interval lies around the area and shrinks with more parts."""
    few = auroc_figure(RNG.normal(size=20), RNG.normal(1, size=20), np.random.default_rng(1))
    many = auroc_figure(RNG.normal(size=2000), RNG.normal(1, size=2000), np.random.default_rng(1))

    assert few.low < few.value < few.high
    assert many.high - many.low < 0.3 * (few.high - few.low)


def test_figures_are_read_at_the_operating_point() -> None:
    """Good parts above reject are overkill, between are review, defective ones below accept have escaped."""
    good, bad = np.array([0.1, 0.2, 0.3, 0.5, 0.9]), np.array([0.1, 0.5, 0.8, 0.9])

    found = figures(good, bad, OperatingPoint(accept=0.4, reject=0.8), np.random.default_rng(1))

    assert tuple(found) == FIGURES
    assert (found["overkill"].value, found["review"].value, found["escape"].value) == (1 / 5, 1 / 5, 1 / 4)


def test_threads_do_not_change_the_order(tmp_path: Path) -> None:
    """Two models judge as one does, each part at its place."""
    folder = small_bundles.write_image_bundle(tmp_path / "bundle")
    parts = [np.full((32, 32), level, np.uint8) for level in range(0, 255, 7)]
    model = Model.load(folder)
    alone = [model.judge(Sample({"image": Channel(part, 0)})) for part in parts]

    judged = judge_all([Model.load(folder), Model.load(folder)], parts)

    assert judged.scores.tolist() == [prediction.score for prediction, _ in alone]
    assert judged.signals["luma_mean"].tolist() == [float(level) for level in range(0, 255, 7)]


SCORES = st.lists(st.floats(0, 10, allow_nan=False), min_size=1, max_size=60).map(np.array)


@given(SCORES, SCORES)
def test_a_limit_is_kept_by_the_parts_it_is_set_on(good: np.ndarray, bad: np.ndarray) -> None:
    """Set and counted on the same parts, no error is above its limit, and a threshold any milder would break it."""
    chosen = Labelled(good, bad)

    found = evaluate.trade_offs(chosen, chosen)

    for limit in evaluate.ESCAPES:
        assert found[f"escape, set for escape {limit:.1%}"].value <= limit
    for limit in evaluate.OVERKILLS:
        assert found[f"overkill, set for overkill {limit:.1%}"].value <= limit


def test_thresholds_are_never_set_on_the_parts_that_are_counted() -> None:
    """Whatever is tested, the threshold is that of the chosen parts."""
    chosen = Labelled(np.array([0.1, 0.2, 0.3]), np.array([0.6, 0.7, 0.8]))
    tested = Labelled(np.array([0.1, 0.65]), np.array([0.5, 0.9]))

    found = evaluate.trade_offs(chosen, tested)

    assert found["overkill, set for escape 0.0%"].value == 0.5
    assert found["escape, set for escape 0.0%"].value == 0.5
    assert found["escape, set for overkill 0.5%"].value == 0.0


@given(SCORES, SCORES)
def test_an_operating_point_has_its_thresholds_in_order(good: np.ndarray, bad: np.ndarray) -> None:
    """However the scores lie, accept is not above reject."""
    point = evaluate.point_for(Labelled(good, bad), escape=0.02, overkill=0.005)

    assert point.accept <= point.reject
