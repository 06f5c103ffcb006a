import pytest

from scripts.day import story


@pytest.mark.parametrize(
    ("window", "said"),
    [
        pytest.param({"score": 0.02, "luma_mean": 0.24}, "PSI at most 0.24 (luma_mean)", id="quiet"),
        pytest.param({"score": 0.3, "luma_mean": 5.1, "luma_std": 0.1}, "PSI luma_mean 5.10, score 0.30", id="drift"),
        pytest.param({"score": 0.25}, "PSI score 0.25", id="at the limit"),
    ],
)
def test_a_window_names_what_drifts(window: dict[str, float], said: str) -> None:
    """The signals at or above the limit are named, the furthest first; when there are none, the nearest to it."""
    assert story._indices(window) == said


@pytest.mark.parametrize(("n", "word"), [(0, "between two parts"), (1, "1 part was"), (3, "3 parts were")])
def test_what_a_kill_interrupted_is_said(n: int, word: str) -> None:
    """None, one and many are told in their own words."""
    assert word in story._in_hand(n)
