import cv2
import numpy as np
import pytest

from edge_agent.errors import InferenceError
from edge_agent.inference.geometry import Box, Geometry, place
from edge_protocol.bundle import ImageInput
from edge_protocol.codes import Reason

RNG = np.random.default_rng(2)


def contract(**changes: object) -> ImageInput:
    """A contract of 224 × 224, with changes."""
    return ImageInput(**{"tensor": "image", "width": 224, "height": 224, **changes})


def test_the_pyramid_halves_exactly_and_then_takes_the_area() -> None:
    """1080p → 224 goes by way of 960 × 540 and 480 × 270, each by exact area."""
    frame = RNG.integers(0, 256, (1080, 1920, 3), np.uint8)
    half = cv2.resize(frame, (960, 540), interpolation=cv2.INTER_AREA)
    quarter = cv2.resize(half, (480, 270), interpolation=cv2.INTER_AREA)

    fitted = Geometry(contract()).fit(frame)

    assert np.array_equal(fitted, cv2.resize(quarter, (224, 224), interpolation=cv2.INTER_AREA))


def test_the_pyramid_does_not_halve_what_is_odd() -> None:
    """A side that does not halve without a rest is left to the last step: no row of a part is ever dropped."""
    frame = RNG.integers(0, 256, (1081, 1920, 3), np.uint8)

    fitted = Geometry(contract()).fit(frame)

    assert np.array_equal(fitted, cv2.resize(frame, (224, 224), interpolation=cv2.INTER_AREA))


def test_no_thin_scratch_is_lost() -> None:
    """A dark scratch two pixels wide stays visible at every position, where linear resizing loses most of them."""
    lost = {"area-pyramid": 0, "linear": 0}
    for x in range(300, 500):
        frame = np.full((1080, 1920), 128, np.uint8)
        frame[:, x : x + 2] = 0
        for resize in lost:
            fitted = Geometry(contract(resize=resize, colour="gray", mean=(0,), std=(1,))).fit(frame)
            lost[resize] += int(128 - int(fitted.min()) < 10)

    assert lost["area-pyramid"] == 0
    assert lost["linear"] > 100


@pytest.mark.parametrize(
    ("geometry", "size", "source", "target"),
    [
        ("stretch", (100, 400), Box(0, 0, 400, 100), Box(0, 0, 224, 224)),
        ("letterbox", (100, 400), Box(0, 0, 400, 100), Box(0, 84, 224, 56)),
        ("letterbox", (400, 100), Box(0, 0, 100, 400), Box(84, 0, 56, 224)),
        ("letterbox", (3, 4000), Box(0, 0, 4000, 3), Box(0, 111, 224, 1)),
        ("crop", (100, 400), Box(150, 0, 100, 100), Box(0, 0, 224, 224)),
        ("crop", (401, 100), Box(0, 150, 100, 100), Box(0, 0, 224, 224)),
        ("letterbox", (100, 100), Box(0, 0, 100, 100), Box(0, 0, 224, 224)),
    ],
)
def test_what_is_judged_and_where_it_lies(geometry: str, size: tuple[int, int], source: Box, target: Box) -> None:
    """Each geometry states which part of a picture is judged and where it lies in the model's frame."""
    placement = place(contract(geometry=geometry), *size)

    assert placement.source == source
    assert placement.target == target


def test_the_letterbox_is_padded_around_the_picture() -> None:
    """The picture lies in the middle, everything else has the contract's value, also after another picture."""
    geometry = Geometry(contract(geometry="letterbox", pad_value=7))
    geometry.fit(np.full((100, 400, 3), 50, np.uint8))

    fitted = geometry.fit(np.full((400, 100, 3), 200, np.uint8))

    assert (fitted[:, 84:140] == 200).all()
    assert (fitted[:, :84] == 7).all()
    assert (fitted[:, 140:] == 7).all()


def test_the_region_of_interest_is_all_that_is_seen() -> None:
    """What lies outside of the region changes nothing."""
    frame = RNG.integers(0, 256, (300, 300, 3), np.uint8)
    other = RNG.integers(0, 256, (300, 300, 3), np.uint8)
    other[30:130, 20:220] = frame[30:130, 20:220]
    geometry = Geometry(contract(roi=(20, 30, 200, 100)))

    assert np.array_equal(geometry.fit(frame).copy(), geometry.fit(other))


def test_a_region_outside_of_the_picture_is_refused() -> None:
    """A camera of another size than the bundle was made for gives WRONG_SHAPE, not another region."""
    with pytest.raises(InferenceError) as caught:
        Geometry(contract(roi=(20, 30, 200, 100))).fit(np.zeros((120, 300, 3), np.uint8))

    assert caught.value.reason is Reason.WRONG_SHAPE
