import cv2
import numpy as np
import pytest

from edge_agent.errors import InferenceError
from edge_agent.inference.preprocess import make_preprocessor
from edge_protocol.bundle import ImageInput, TensorInput, WindowInput
from edge_protocol.codes import Reason
from tests.edge_agent.inference.small_bundles import jpeg, npy, png

RNG = np.random.default_rng(4)
PICTURE = RNG.integers(0, 256, (32, 32, 3), np.uint8)
FLOATS, WHOLE = ("float32", "float64"), ("uint8", "int32", "int64")


def tensor_of(contract: ImageInput | WindowInput | TensorInput, data: bytes | np.ndarray) -> np.ndarray:
    """What the preprocessor makes of data."""
    preprocessor = make_preprocessor(contract)
    tensor = preprocessor.new_tensor()
    preprocessor.write(preprocessor.decode(data), tensor)
    return tensor


def refused(contract: WindowInput | TensorInput, data: bytes | np.ndarray) -> InferenceError:
    """How data is refused."""
    with pytest.raises(InferenceError) as caught:
        tensor_of(contract, data)
    assert caught.value.hint
    return caught.value


def image(**changes: object) -> ImageInput:
    """A contract of 32 × 32 that changes no value, with changes."""
    return ImageInput(**{"tensor": "x", "width": 32, "height": 32, **changes})


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("colour", ["rgb", "bgr", "gray"])
@pytest.mark.parametrize("dtype", [*FLOATS, *WHOLE])
def test_a_picture_becomes_a_tensor_of_any_type(dtype: str, colour: str, layout: str) -> None:
    """Every type, colour and layout holds the same values; whole numbers are the grey levels, floats the formula."""
    is_grey, is_float = colour == "gray", dtype in FLOATS
    mean, std = ((100.0,), (50.0,)) if is_grey else ((100.0, 110.0, 120.0), (50.0, 60.0, 70.0))
    contract = image(dtype=dtype, colour=colour, layout=layout, mean=mean, std=std)
    seen = {"rgb": PICTURE[..., ::-1], "bgr": PICTURE, "gray": cv2.cvtColor(PICTURE, cv2.COLOR_BGR2GRAY)[..., None]}
    values = ((seen[colour].astype(np.float64) - mean) / std) if is_float else seen[colour]

    tensor = tensor_of(contract, PICTURE)

    assert tensor.dtype == dtype
    assert np.array_equal(tensor[0] if layout == "nhwc" else tensor[0].transpose(1, 2, 0), values.astype(dtype))


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_a_mono_camera_fills_pixels_of_three_channels(colour: str) -> None:
    """A grey picture is one of three equal channels where these lie side by side, too."""
    contract = image(layout="nhwc", colour=colour, mean=(1.0, 2.0, 3.0), std=(1.0, 2.0, 3.0))

    assert np.array_equal(tensor_of(contract, PICTURE[..., 0]), tensor_of(contract, np.dstack([PICTURE[..., 0]] * 3)))


def test_a_tensor_is_the_array_in_its_type() -> None:
    """As an array or as the bytes of a .npy file, with or without the batch of one, in C or in Fortran order."""
    array = RNG.integers(-5, 100, (3, 4)).astype(np.int16)
    contract = TensorInput(tensor="x", shape=(1, 3, 4), dtype="float64")
    given = [array, array[None], npy(array), npy(array[None]), npy(np.asfortranarray(array)), npy(array.astype(">i4"))]

    for data in given:
        tensor = tensor_of(contract, data)
        assert tensor.dtype == np.float64
        assert np.array_equal(tensor, array[None].astype(np.float64))


def test_a_tensor_is_standardised_along_its_last_axis() -> None:
    """(value - mean) / std, where the contract has them."""
    contract = TensorInput(tensor="x", shape=(2, 3), mean=(1.0, 2.0, 3.0), std=(1.0, 2.0, 4.0))
    array = RNG.normal(size=(2, 3))

    assert np.array_equal(tensor_of(contract, array), ((array - contract.mean) / contract.std).astype(np.float32))


@pytest.mark.parametrize("dtype", WHOLE)
def test_whole_numbers_are_never_rounded_into_a_tensor(dtype: str) -> None:
    """Floats that are whole are taken; others, and those beyond the type, are refused and never wrapped."""
    contract = TensorInput(tensor="x", shape=(1, 2), dtype=dtype)

    assert tensor_of(contract, np.array([3.0, 200.0])).tolist() == [[3, 200]]
    assert refused(contract, np.array([3.5, 2.0])).reason is Reason.WRONG_SHAPE
    assert refused(contract, np.array([1e300, 2.0])).reason is Reason.NOT_FINITE
    assert refused(contract, np.array([np.nan, 2.0])).reason in {Reason.NOT_FINITE, Reason.WRONG_SHAPE}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (np.zeros((4, 3)), Reason.WRONG_SHAPE),
        (np.zeros(12), Reason.WRONG_SHAPE),
        (np.zeros((3, 4), complex), Reason.WRONG_SHAPE),
        (np.array([["a"] * 4] * 3), Reason.WRONG_SHAPE),
        (npy(np.zeros((3, 5))), Reason.WRONG_SHAPE),
        (npy(np.zeros((3, 4)))[:-8], Reason.WRONG_SHAPE),
        (npy(np.zeros((3, 4)))[:9], Reason.UNREADABLE),
        (b"", Reason.UNREADABLE),
        (b"no array", Reason.UNREADABLE),
        (np.full((3, 4), np.nan), Reason.NOT_FINITE),
        (np.full((3, 4), np.inf), Reason.NOT_FINITE),
        (np.full((3, 4), 1e300), Reason.NOT_FINITE),
    ],
)
def test_an_array_that_is_none_says_why(data: bytes | np.ndarray, reason: Reason) -> None:
    """Another shape or kind, torn bytes, values that no tensor holds: refused with the cure."""
    assert refused(TensorInput(tensor="x", shape=(1, 3, 4)), data).reason is reason


def test_a_window_fills_a_tensor_of_its_shape() -> None:
    """`raw` values go into any shape that holds as many, in any type."""
    values = np.arange(8.0)

    tensor = tensor_of(
        WindowInput(tensor="x", length=8, rate_hz=1.0, features="raw", shape=(1, 1, 2, 4), dtype="int32"), values
    )

    assert tensor.dtype == np.int32
    assert np.array_equal(tensor, values.reshape(1, 1, 2, 4))


def smooth(height: int, width: int) -> np.ndarray:
    """A picture that survives JPEG."""
    return cv2.resize(RNG.integers(0, 256, (5, 5, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("size", [(256, 320), (251, 317)])
def test_a_jpeg_is_decoded_smaller_only_where_the_contract_says_so(factor: int, size: tuple[int, int]) -> None:
    """The decoder gives a picture whose sides are divided and rounded up; a PNG and an array stay as they are."""
    picture, contract = smooth(*size), image(jpeg_reduce=factor)
    preprocessor = make_preprocessor(contract)

    assert preprocessor.decode(jpeg(picture)).shape == (-(-size[0] // factor), -(-size[1] // factor), 3)
    assert preprocessor.decode(jpeg(picture[..., 0])).shape == (-(-size[0] // factor), -(-size[1] // factor))
    assert np.array_equal(preprocessor.decode(png(picture)), picture)
    assert preprocessor.decode(picture) is picture
    assert make_preprocessor(image()).decode(jpeg(picture)).shape == picture.shape


@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize(
    "changes", [{}, {"geometry": "letterbox"}, {"geometry": "crop"}, {"roi": (80, 40, 160, 128)}], ids=str
)
def test_a_reduced_picture_lies_at_the_same_place(factor: int, changes: dict) -> None:
    """The tensor shows the same part of the source, and says so in pixels of the full source, whatever the factor."""
    picture = smooth(256, 320)
    full, reduced = make_preprocessor(image(**changes)), make_preprocessor(image(**changes, jpeg_reduce=factor))
    tensor, other = full.new_tensor(), reduced.new_tensor()
    corners = np.array([[0.0, 0.0], [32.0, 32.0], [10.0, 20.0]])

    expected = full.write(full.decode(picture), tensor)
    placement = reduced.write(reduced.decode(jpeg(picture)), other)

    assert placement.size == (256, 320)
    assert np.allclose(placement.to_source(corners), expected.to_source(corners), atol=2 * factor)
    assert np.abs(tensor - other).mean() < 6


def test_only_the_picture_that_was_reduced_counts_as_reduced() -> None:
    """An array of the same size that comes after a reduced JPEG is a source picture of its own."""
    preprocessor = make_preprocessor(image(jpeg_reduce=2))
    small = preprocessor.decode(jpeg(smooth(256, 320)))
    tensor = preprocessor.new_tensor()

    assert preprocessor.write(small, tensor).size == (256, 320)
    assert preprocessor.write(small.copy(), tensor).size == (128, 160)
    assert preprocessor.write(small, tensor).size == (256, 320)
