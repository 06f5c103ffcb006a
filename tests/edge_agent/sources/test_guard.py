from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import skimage

from edge_agent.errors import ConfigError
from edge_agent.inference import signals
from edge_agent.inference.signals import Sampler
from edge_agent.sample import Look
from edge_agent.settings import Guard as Settings
from edge_agent.sources.guard import Guard
from edge_agent.sources.picture_guard import COLOURS, Place
from edge_protocol.codes import Reason
from edge_protocol.counters import Reference, SignalReference, make_signal

Array = npt.NDArray[Any]
DATA = Path(skimage.__file__).parent / "data"


def picture(seed: int = 0, mean: int = 120) -> Array:
    """A noisy colour picture."""
    noise = np.random.default_rng(seed).normal(mean, 10, (480, 640, 3))
    return np.clip(noise, 0, 255).astype(np.uint8)


def scene(seed: int = 0, shift: int = 0) -> Array:
    """A bright part on a dark ground with structure of its own, so many pixels to the right, in fresh noise."""
    part = np.full((480, 640), 40, np.float64)
    part[120:360, 150 + shift : 420 + shift] = 170
    part[180:240, 200 + shift : 280 + shift] = 90
    return np.clip(part + np.random.default_rng(seed).normal(0, 4, part.shape), 0, 255).astype(np.uint8)


def window(seed: int = 0) -> Array:
    """A noisy window of 500 values."""
    return np.random.default_rng(seed).normal(0, 1, 500)


def look(array: Array, **keys: Any) -> Look:
    """What a guard sees of a decoded input."""
    if array.dtype != np.uint8:
        return Look(array, None, signals.of_window(array) if array.ndim == 1 else {}, **keys)
    sampler = Sampler()
    rows, luma = sampler.take(array)
    return Look(rows, luma, sampler.signals(), **keys)


def pictures(reference: Reference | None = None, **keys: Any) -> Guard:
    """A guard of pictures with the limits `keys`."""
    return Guard(Settings(**keys), "image", reference)


def windows(**keys: Any) -> Guard:
    """A guard of windows with the limits `keys`."""
    return Guard(Settings(**keys), "window")


def check(guard: Guard, *arrays: Array, **keys: Any) -> list[Reason]:
    """What a guard says of these inputs, one after the other."""
    return [guard.check(look(array, **keys)) for array in arrays]


def good_parts() -> Reference:
    """What the signals of structured scenes look like."""
    seen = [look(cv2.cvtColor(scene(seed), cv2.COLOR_GRAY2BGR)).signals for seed in range(40)]
    names = ("sharpness", "luma_mean")
    taught = [make_signal(name, [signals[name] for signals in seen]) for name in names]
    return Reference((*taught, make_signal("red_green", np.linspace(0.95, 1.05, 99))))


def test_a_good_input_passes() -> None:
    """A live picture, colour or grey, and a live window are trusted."""
    assert check(pictures(), picture(), picture()[:, :, 0]) == [Reason.NONE] * 2
    assert check(windows(), window()) == [Reason.NONE]


@pytest.mark.parametrize("name", ["brick", "grass", "gravel"])
@pytest.mark.parametrize("light", [1.0, 0.8, 0.5])
def test_a_real_surface_under_less_light_is_trusted(name: str, light: float) -> None:
    """A fifth less light, or half, is for drift to tell: the guard lets it pass."""
    surface = cv2.imread(str(DATA / f"{name}.png"))
    assert surface is not None
    dimmed = np.rint(surface * light).astype(np.uint8)

    assert check(pictures(), dimmed) == [Reason.NONE]


@pytest.mark.parametrize("dark", [np.zeros((480, 640, 3), np.uint8), picture(mean=3), picture(mean=3)[:, :, 1]])
def test_a_covered_lens_is_black(dark: Array) -> None:
    """Sensor noise in the dark is no picture of a part."""
    assert check(pictures(), dark) == [Reason.BLACK]


def test_a_blinded_camera_is_glare() -> None:
    """A picture that is white all over shows no part; one half of which is white may."""
    half = scene()
    half[:, :320] = 255

    assert check(pictures(), np.full((480, 640, 3), 253, np.uint8), half) == [Reason.GLARE, Reason.NONE]
    assert check(pictures(glare_above=0.4), half) == [Reason.GLARE]


def test_a_lens_out_of_focus_is_blur() -> None:
    """Far less sharp than nearly all good parts, or than a fixed limit, is no picture of a part."""
    sharp = scene()
    soft = cv2.GaussianBlur(sharp, (0, 0), 9)
    limit = look(sharp).signals["sharpness"] * 0.6

    assert check(pictures(good_parts()), sharp, soft) == [Reason.NONE, Reason.BLUR]
    assert check(pictures(blur_below=limit), sharp, soft) == [Reason.NONE, Reason.BLUR]
    assert check(pictures(), sharp, soft) == [Reason.NONE, Reason.NONE]


def test_the_limit_that_is_told_is_the_one_that_holds() -> None:
    """What good parts taught stands as a number: an input's sharpness below it is blur, one at it is not."""
    guard = pictures(good_parts())
    lowest, highest = guard.limits["sharpness"]
    seen = look(picture(1))

    verdicts = [guard.check(replace(seen, signals={**seen.signals, "sharpness": lowest * by})) for by in (0.99, 1.0)]

    assert lowest > 0
    assert highest is None
    assert verdicts == [Reason.BLUR, Reason.NONE]


def test_a_lamp_of_another_colour_is_a_colour_shift() -> None:
    """Beyond the colours of good parts by the factor, either way, nothing is judged; less light is no colour."""
    plain = cv2.cvtColor(scene(), cv2.COLOR_GRAY2BGR)
    red = np.rint(plain * (0.7, 0.7, 1.0)).astype(np.uint8)
    cyan = np.rint(plain * (1.0, 1.0, 0.7)).astype(np.uint8)
    dim = np.rint(plain * 0.6).astype(np.uint8)

    found = check(pictures(good_parts()), plain, red, cyan, dim)

    assert found == [Reason.NONE, Reason.COLOUR_SHIFT, Reason.COLOUR_SHIFT, Reason.NONE]
    assert check(pictures(), red) == [Reason.NONE]


def test_what_is_a_colour_shift_is_told_by_parts_not_by_edges() -> None:
    """Parts that are all of one colour leave the outer bins empty: how far the edges reach is no permit."""
    plain = cv2.cvtColor(scene(), cv2.COLOR_GRAY2BGR)
    red = np.rint(plain * (0.7, 0.7, 1.0)).astype(np.uint8)
    counts = (0, 0, 0, 2000, 0, 0, 0, 0)
    grey = Reference(tuple(SignalReference(name, (0.5, 0.8, 0.98, 1.02, 1.2, 1.5), counts) for name in COLOURS))

    assert check(pictures(grey), plain, red) == [Reason.NONE, Reason.COLOUR_SHIFT]


@pytest.mark.parametrize(("shift", "reason"), [(0, Reason.NONE), (8, Reason.NONE), (80, Reason.MISPLACED)])
def test_a_part_elsewhere_is_misplaced(tmp_path: Path, shift: int, reason: Reason) -> None:
    """A scene that has moved against the taught one by more than the limit is not judged; a little play is."""
    taught = tmp_path / "taught.png"
    cv2.imwrite(str(taught), scene())

    guard = pictures(placed_like=taught, misplaced_above=0.05, frozen_after=0)

    assert check(guard, *[scene(1, shift)] * 50) == [reason] * 50


def test_a_scene_that_is_not_the_taught_one_is_misplaced(tmp_path: Path) -> None:
    """Where nothing of the taught picture is found the part is not in its place."""
    taught = tmp_path / "taught.png"
    cv2.imwrite(str(taught), scene())

    luma = look(picture(1)).luma
    assert luma is not None
    assert Place(taught).shift(luma) == 1.0
    assert check(pictures(placed_like=taught), picture(1)) == [Reason.MISPLACED]


def test_a_taught_picture_that_is_none_is_refused(tmp_path: Path) -> None:
    """A guard that cannot compare is a mistake in the configuration, named with its key and its cure."""
    with pytest.raises(ConfigError, match="placed_like") as caught:
        pictures(placed_like=tmp_path / "missing.png")

    assert caught.value.hint


def test_a_camera_that_repeats_itself_is_frozen() -> None:
    """From the k-th equal picture in a row on, a live source is not believed; a new picture ends it."""
    guard = pictures(frozen_after=3)

    found = check(guard, *(picture(seed) for seed in (1, 1, 1, 1, 2, 1)))

    assert found == [Reason.NONE, Reason.NONE, Reason.FROZEN, Reason.FROZEN, Reason.NONE, Reason.NONE]


def test_a_frozen_sensor_of_windows_is_found_too() -> None:
    """Equal windows in a row are frozen like pictures."""
    found = check(windows(frozen_after=2), *(window(seed) for seed in (1, 1, 2)))

    assert found == [Reason.NONE, Reason.FROZEN, Reason.NONE]


def test_an_input_that_comes_again_is_a_duplicate() -> None:
    """Equal to any of the last n, not only to the last; what is older may come again."""
    guard = pictures(duplicate_within=2, frozen_after=0)

    found = check(guard, *(picture(seed) for seed in (1, 2, 1, 3, 4, 2)))

    assert found == [Reason.NONE, Reason.NONE, Reason.DUPLICATE, Reason.NONE, Reason.NONE, Reason.NONE]


def test_a_replay_may_repeat_itself() -> None:
    """What is replayed is never frozen, a duplicate or back in time, and does not make the next live picture so."""
    guard = pictures(frozen_after=2, duplicate_within=9)

    found = [guard.check(look(picture(1), replayed=True, at_us=100 - n, taken_us=-n)) for n in range(5)]

    assert [*found, *check(guard, picture(1))] == [Reason.NONE] * 6


def test_a_tensor_may_repeat_itself() -> None:
    """Values of a process stay as they are for hours; only their times must go on."""
    guard = Guard(Settings(frozen_after=2, duplicate_within=9), "tensor")
    values = np.zeros((3, 4))

    found = [guard.check(look(values, at_us=at_us)) for at_us in (1, 2, 3, 2)]

    assert found == [Reason.NONE] * 3 + [Reason.TIME_WENT_BACK]


@pytest.mark.parametrize("clock", ["at_us", "taken_us"])
def test_a_time_that_goes_back_is_told_once(clock: str) -> None:
    """An input older than the one before it is not trusted, by our clock or by the source's own; the next one is."""
    guard = pictures()

    found = [guard.check(look(picture(n), **{clock: at_us})) for n, at_us in enumerate((10, 20, 15, 16, 16))]

    assert found == [Reason.NONE, Reason.NONE, Reason.TIME_WENT_BACK, Reason.NONE, Reason.NONE]


def test_an_input_after_too_long_is_a_gap() -> None:
    """Where inputs are to follow each other within a time, the first one after more than that is not trusted."""
    guard = windows(gap_s=1.0)

    found = [guard.check(look(window(n), at_us=at_us)) for n, at_us in enumerate((0, 1_000_000, 2_000_001, 2_500_000))]

    assert found == [Reason.NONE, Reason.NONE, Reason.GAP, Reason.NONE]


def test_values_that_are_missing_are_a_gap() -> None:
    """A window of which the source knows that values are missing is not judged beyond the share that is allowed."""
    assert check(windows(), window(), missing=1) == [Reason.GAP]
    assert check(windows(missing_above=0.1), window(), missing=50) == [Reason.NONE]
    assert check(windows(missing_above=0.1), window(), missing=51) == [Reason.GAP]


def _stuck() -> Array:
    values = window()
    values[200:460] = values[200]
    return values


SINE = np.sin(np.arange(500) / 7)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full(500, 0.7), Reason.DEAD),
        (_stuck(), Reason.STUCK),
        (np.clip(SINE, -0.5, 0.5), Reason.CLIPPED),
        (np.clip(SINE, -1, 0.1) + np.arange(500) * 1e-9 * (SINE < 0.1), Reason.CLIPPED),
        (SINE, Reason.NONE),
        (np.rint(SINE * 16), Reason.NONE),
        (np.stack([np.full(500, 0.7), window()]), Reason.DEAD),
        (np.stack([window(), np.full(500, 25.0)]), Reason.NONE),
    ],
)
def test_a_sick_sensor_has_its_reason(values: Array, reason: Reason) -> None:
    """Dead, stuck and clipped are told apart; a coarse sensor is none of them, speed or load beside it is not asked."""
    assert check(windows(), values) == [reason]


@pytest.mark.parametrize("axes", [1, 2])
def test_each_axis_is_a_sensor(axes: int) -> None:
    """A dead second axis makes the input as untrusted as a dead first one; a speed beside them may rest."""
    guard = Guard(Settings(), "window", axes=axes)
    rows = np.stack([window(), np.full(500, 0.7)])

    assert guard.check(look(rows)) is (Reason.DEAD if axes == 2 else Reason.NONE)


def test_a_sensor_without_life_is_dead_below_its_floor() -> None:
    """Where the noise of a cut cable is known, less deviation than that is a dead sensor."""
    assert check(windows(dead_below=0.01), window() * 1e-3, window()) == [Reason.DEAD, Reason.NONE]


def test_a_known_range_is_what_clips() -> None:
    """With the sensor's range given, values at its ends count and a signal's own extremes do not."""
    half = np.where(SINE > 0, 1.0, SINE)

    assert check(windows(range=(-10, 10)), half) == [Reason.NONE]
    assert check(windows(range=(-10, 1)), half) == [Reason.CLIPPED]


def test_each_check_can_be_turned_off() -> None:
    """For a line where black is what good parts are, or a signal that only switches."""
    off = pictures(black_below=0, frozen_after=0)
    switching = np.where(np.arange(500) < 400, 0.0, 1.0)

    assert {*check(off, *[np.zeros((64, 64), np.uint8)] * 10)} == {Reason.NONE}
    assert check(windows(stuck_above=1, clipped_above=1), switching) == [Reason.NONE]
