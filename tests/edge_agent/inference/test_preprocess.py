import tracemalloc

import cv2
import numpy as np
import pytest

from edge_agent.inference.preprocess import make_preprocessor
from edge_protocol.bundle import ImageInput
from tests.edge_agent.inference.small_bundles import png

RNG = np.random.default_rng(3)
PICTURE = RNG.integers(0, 256, (32, 32, 3), np.uint8)
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def contract(**changes: object) -> ImageInput:
    """A contract of 32 × 32 with the means and deviations of ImageNet, with changes."""
    return ImageInput(**{"tensor": "image", "width": 32, "height": 32, "mean": MEAN, "std": STD, **changes})


def tensor_of(picture: np.ndarray, **changes: object) -> np.ndarray:
    """What the preprocessor makes of a picture."""
    preprocessor = make_preprocessor(contract(**changes))
    tensor = preprocessor.new_tensor()
    tensor.fill(99)
    preprocessor.write(preprocessor.decode(picture), tensor)
    return tensor


def normal(picture: np.ndarray) -> np.ndarray:
    """(value - mean) / std in double precision, rounded once."""
    return ((picture.astype(np.float64) - MEAN) / STD).astype(np.float32)


def test_the_tensor_is_the_formula_rounded_once() -> None:
    """Every value is the float32 nearest to (value - mean) / std, in the contract's order of colours."""
    assert np.array_equal(tensor_of(PICTURE)[0], normal(PICTURE[..., ::-1]).transpose(2, 0, 1))
    assert np.array_equal(tensor_of(PICTURE, colour="bgr")[0], normal(PICTURE).transpose(2, 0, 1))


def test_the_layout_changes_places_and_no_value() -> None:
    """NHWC holds what NCHW holds."""
    assert np.array_equal(tensor_of(PICTURE, layout="nhwc")[0].transpose(2, 0, 1), tensor_of(PICTURE)[0])


def test_a_uint8_tensor_holds_the_picture() -> None:
    """Where the graph normalises, the values pass as they are."""
    tensor = tensor_of(PICTURE, layout="nhwc", dtype="uint8")

    assert tensor.dtype == np.uint8
    assert np.array_equal(tensor[0], PICTURE[..., ::-1])


def test_a_grey_picture_is_a_colour_picture_of_equal_channels() -> None:
    """A mono camera and a colour camera that see grey give the same tensor."""
    grey = PICTURE[..., 0]

    assert np.array_equal(tensor_of(grey), tensor_of(np.dstack([grey] * 3)))


def test_a_colour_picture_becomes_grey_before_it_is_resized() -> None:
    """A grey contract takes the luma of a colour picture."""
    tensor = tensor_of(PICTURE, colour="gray", mean=(0.0,), std=(1.0,))

    assert np.array_equal(tensor[0, 0], cv2.cvtColor(PICTURE, cv2.COLOR_BGR2GRAY).astype(np.float32))


def test_bytes_and_array_of_a_picture_are_one() -> None:
    """A PNG gives the same values as the array it was made of."""
    preprocessor = make_preprocessor(contract())

    assert np.array_equal(preprocessor.decode(png(PICTURE)), preprocessor.decode(PICTURE))


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("geometry", ["stretch", "letterbox", "crop"])
def test_the_steady_state_allocates_no_frame(geometry: str, layout: str) -> None:
    """After the first picture of a size, writing a tensor allocates next to nothing."""
    preprocessor = make_preprocessor(contract(width=224, height=224, geometry=geometry, layout=layout))
    frame, tensor = RNG.integers(0, 256, (1080, 1920, 3), np.uint8), preprocessor.new_tensor()
    preprocessor.write(frame, tensor)
    tracemalloc.start()

    for _ in range(3):
        preprocessor.write(frame, tensor)

    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000


def test_an_earlier_picture_leaves_no_trace() -> None:
    """The tensor of a picture does not depend on what was preprocessed before, whatever its size."""
    preprocessor = make_preprocessor(contract(geometry="letterbox"))
    tensor = preprocessor.new_tensor()
    for shape in ((64, 128, 3), (128, 64, 3), (100, 100), (64, 64, 3)):
        preprocessor.write(RNG.integers(0, 256, shape, np.uint8), tensor)

    preprocessor.write(PICTURE, tensor)

    assert np.array_equal(tensor, tensor_of(PICTURE, geometry="letterbox"))
