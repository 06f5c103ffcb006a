import cv2
import numpy as np
import pytest

from edge_agent.inference import signals
from edge_protocol.bundle import ImageInput, TensorInput, WindowInput

RNG = np.random.default_rng(6)
PICTURE = cv2.GaussianBlur(RNG.integers(0, 256, (480, 640, 3), np.uint8), (0, 0), 1.5)
WINDOW = RNG.normal(size=4000)


def test_less_light_is_less_luma_and_nothing_else() -> None:
    """Under 80 % of the light luma falls by a fifth; sharpness and the ratios of colours stay."""
    full, dim = (signals.of_image(p) for p in (PICTURE, cv2.convertScaleAbs(PICTURE, alpha=0.8)))

    assert dim["luma_mean"] == pytest.approx(0.8 * full["luma_mean"], rel=0.01)
    assert dim["luma_std"] == pytest.approx(0.8 * full["luma_std"], rel=0.02)
    for name in ("sharpness", "red_green", "blue_green"):
        assert dim[name] == pytest.approx(full[name], rel=0.03)


def test_a_lens_out_of_focus_is_less_sharp() -> None:
    """Blur lowers sharpness, whatever it does to contrast."""
    blurred = cv2.GaussianBlur(PICTURE, (0, 0), 3)

    assert signals.of_image(blurred)["sharpness"] < 0.6 * signals.of_image(PICTURE)["sharpness"]


def test_a_cast_shows_in_the_ratios_of_colours() -> None:
    """More red raises red_green alone."""
    warm = PICTURE.copy()
    warm[..., 2] = cv2.convertScaleAbs(PICTURE[..., 2], alpha=1.3)
    plain, cast = signals.of_image(PICTURE), signals.of_image(warm)

    assert cast["red_green"] == pytest.approx(1.3 * plain["red_green"], rel=0.02)
    assert cast["blue_green"] == plain["blue_green"]


def test_grey_has_no_colours_to_compare() -> None:
    """A grey picture has the signals of its light; those agree with the same picture in colour."""
    grey = PICTURE[..., 0].copy()
    found, colour = signals.of_image(grey), signals.of_image(np.dstack([grey] * 3))

    assert set(found) == {"luma_mean", "luma_std", "sharpness"}
    assert found == {name: pytest.approx(colour[name]) for name in found}
    assert colour["red_green"] == colour["blue_green"] == 1.0


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1), (2, 3), (4000, 2, 3)])
def test_signals_are_numbers_for_any_size(shape: tuple[int, ...]) -> None:
    """A picture of one pixel has finite signals too."""
    assert np.isfinite(list(signals.of_image(np.zeros(shape, np.uint8)).values())).all()


def test_the_moments_of_noise_are_known() -> None:
    """Gaussian noise of deviation 2: rms 2, kurtosis 3, crossings at every second step."""
    found = signals.of_window(2 * WINDOW)

    assert found["rms"] == pytest.approx(2, rel=0.05)
    assert found["kurtosis"] == pytest.approx(3, rel=0.15)
    assert found["zero_crossings"] == pytest.approx(0.5, rel=0.05)
    assert found["crest"] == pytest.approx(np.abs(WINDOW).max() / np.sqrt((WINDOW**2).mean()))


def test_a_sine_is_known() -> None:
    """A sine has crest √2 and kurtosis 1.5."""
    found = signals.of_window(np.sin(np.arange(5000) * 0.1))

    assert found["crest"] == pytest.approx(np.sqrt(2), rel=0.01)
    assert found["kurtosis"] == pytest.approx(1.5, rel=0.01)


@pytest.mark.parametrize("window", [np.zeros(10), np.full(10, 5.0), np.zeros(1), np.full(10, 1e300)])
def test_a_dead_sensor_raises_nothing(window: np.ndarray) -> None:
    """Signals of a flat line are computed without a warning; what overflows is not finite and has a bin of its own."""
    assert set(signals.of_window(window)) == {"rms", "kurtosis", "crest", "zero_crossings"}


def test_any_input_has_signals() -> None:
    """By the contract, never by the look of an array: bytes are no picture by themselves, other rows no signal."""
    window = WindowInput(tensor="x", length=4000, rate_hz=1.0)
    tensor = TensorInput(tensor="x", shape=(1, 3, 512, 512), dtype="uint8")

    assert signals.of(PICTURE, ImageInput(tensor="x", width=8, height=8)) == signals.of_image(PICTURE)
    assert signals.of(np.stack([WINDOW, 99 + WINDOW]), window) == signals.of_window(WINDOW)
    found = signals.of(np.full(tensor.shape, 200, np.uint8), tensor)
    assert set(found) == set(signals.of_window(WINDOW))
    assert found["rms"] == pytest.approx(200)
