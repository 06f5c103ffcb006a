"""The trend: a graph that is what is written down, that follows the weeks, and that a fault does not teach."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cloud_hub.errors import FactoryError
from cloud_hub.factory import early_warning, trend
from cloud_hub.factory.early_warning import HOUR, TREND
from edge_agent.sample import Channel, Sample


def hours(levels: np.ndarray, seed: int = 0) -> Iterator[np.ndarray]:
    """Windows around these levels, with noise."""
    rng = np.random.default_rng(seed)
    for level in levels:
        yield level + rng.normal(0, 0.5, HOUR)


def judged(model: early_warning.Model, levels: np.ndarray) -> list[float]:
    """The scores of the production path."""
    return [model.judge(Sample({"temperature": Channel(window, 0)}))[0].score for window in hours(levels)]


def test_the_graph_is_what_is_written_down(tmp_path: Path) -> None:
    """Over hundreds of windows, states carried along, the graph scores as numpy does."""
    levels = 80 + 10 * np.random.default_rng(1).standard_t(3, 600)

    scores = judged(early_warning.make_model(tmp_path), levels)

    np.testing.assert_allclose(scores, list(trend.score(TREND, hours(levels))), rtol=2e-3, atol=1e-3)
    assert scores[: TREND.warm_up] == [0.0] * TREND.warm_up


def test_what_moves_with_the_weeks_is_usual() -> None:
    """Ten degrees more over ten weeks: never two deviations off."""
    weeks = 24 * 7 * 10
    levels = np.linspace(80, 90, weeks) + 2 * np.sin(2 * np.pi * np.arange(weeks) / 24)

    assert max(list(trend.score(TREND, hours(levels)))[24 * 7 :]) < 2.5


def test_a_fault_is_not_learnt() -> None:
    """A fall that stays for a day scores at its end as at its beginning; without doubt it would teach itself."""
    levels = np.concatenate([80 + 2 * np.sin(np.arange(24 * 21)), np.full(24, 50.0)])

    scores = list(trend.score(TREND, hours(levels)))[-24:]

    assert min(scores) > 0.7 * max(scores) > 7


def test_runs_of_alarms_are_one() -> None:
    """What follows within six hours belongs to the alarm before."""
    assert early_warning.beginnings([0.0, 3600.0, 20_000.0, 60_000.0]) == [0.0, 60_000.0]


def test_missing_data_is_said(tmp_path: Path) -> None:
    """Without the folder the report says what it lacks."""
    with pytest.raises(FactoryError, match="machine_temperature"):
        early_warning.measure(tmp_path)


@pytest.mark.slow
def test_failures_are_warned_of() -> None:
    """NAB's machine: the four failures are NG before their labelled moments, other alarms are one a week at most."""
    if not early_warning.FOLDER.exists():
        pytest.skip(f"{early_warning.FOLDER} is not there: it holds NAB's machine temperature")

    warned = early_warning.measure()

    assert all(lead is not None and lead > 0 for lead in warned.leads_s)
    assert len(warned.false_s) / warned.days * 7 <= 1
