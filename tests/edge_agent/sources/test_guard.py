from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import skimage

from edge_agent.settings import Guard as Settings
from edge_agent.sources.guard import Guard
from edge_protocol.codes import Reason

Array = npt.NDArray[Any]
DATA = Path(skimage.__file__).parent / "data"


def picture(seed: int = 0, mean: int = 120) -> Array:
    """A noisy colour picture."""
    noise = np.random.default_rng(seed).normal(mean, 10, (480, 640, 3))
    return np.clip(noise, 0, 255).astype(np.uint8)


def window(seed: int = 0) -> Array:
    """A noisy window of 500 values."""
    return np.random.default_rng(seed).normal(0, 1, 500)


def guard(**keys: Any) -> Guard:
    """A guard with the limits `keys`."""
    return Guard(Settings(**keys), window_length=500)


def test_a_good_input_passes() -> None:
    """A live picture and a live window are trusted."""
    looked = guard()

    reasons = [looked.check(picture()), looked.check(picture()[:, :, 0]), looked.check(window())]

    assert reasons == [Reason.NONE] * 3


@pytest.mark.parametrize("name", ["brick", "grass", "gravel"])
@pytest.mark.parametrize("light", [1.0, 0.8, 0.5])
def test_a_real_surface_under_less_light_is_not_black(name: str, light: float) -> None:
    """A fifth less light, or half, is for drift to tell: the guard lets it pass."""
    surface = cv2.imread(str(DATA / f"{name}.png"))
    assert surface is not None
    dimmed = np.rint(surface * light).astype(np.uint8)

    assert guard().check(dimmed) is Reason.NONE


@pytest.mark.parametrize("dark", [np.zeros((480, 640, 3), np.uint8), picture(mean=3), picture(mean=3)[:, :, 1]])
def test_a_covered_lens_is_black(dark: Array) -> None:
    """Sensor noise in the dark is no picture of a part."""
    assert guard().check(dark) is Reason.BLACK


def test_a_camera_that_repeats_itself_is_frozen() -> None:
    """From the k-th equal picture in a row on, a live source is not believed; a new picture ends it."""
    looked = guard(frozen_after=3)

    reasons = [looked.check(picture(seed)) for seed in (1, 1, 1, 1, 2, 1)]

    assert reasons == [Reason.NONE, Reason.NONE, Reason.FROZEN, Reason.FROZEN, Reason.NONE, Reason.NONE]


def test_a_frozen_sensor_of_windows_is_found_too() -> None:
    """Equal windows in a row are frozen like pictures."""
    looked = guard(frozen_after=2)

    reasons = [looked.check(window(seed)) for seed in (1, 1, 2)]

    assert reasons == [Reason.NONE, Reason.FROZEN, Reason.NONE]


def test_a_replay_may_repeat_itself() -> None:
    """What is replayed is never called frozen, and does not make the next live picture so."""
    looked = guard(frozen_after=2)

    reasons = [looked.check(picture(1), replayed=True) for _ in range(5)] + [looked.check(picture(1))]

    assert reasons == [Reason.NONE] * 6


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (np.full(500, np.nan), Reason.NOT_FINITE),
        (np.where(np.arange(500) == 250, np.inf, window()), Reason.NOT_FINITE),
        (np.full(500, 0.7), Reason.FROZEN),
        (window()[:499], Reason.WRONG_SHAPE),
        (np.empty(0), Reason.WRONG_SHAPE),
        (np.empty((0, 640, 3), np.uint8), Reason.WRONG_SHAPE),
    ],
)
def test_a_dead_or_broken_input_has_its_reason(data: Array, reason: Reason) -> None:
    """A broken sensor, a dead one and one of another length are told apart."""
    assert guard().check(data) is reason


def test_each_check_can_be_turned_off() -> None:
    """Zero turns a check off, for a line where black is what good parts are."""
    looked = guard(black_below=0, frozen_after=0)

    reasons = {looked.check(np.zeros((64, 64), np.uint8)) for _ in range(10)}

    assert reasons == {Reason.NONE}
