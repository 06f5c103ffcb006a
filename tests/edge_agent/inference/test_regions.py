import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import InferenceError
from edge_agent.inference.geometry import Box, frame, place
from edge_agent.inference.postprocess import View, predict
from edge_agent.inference.postprocess.regions import MAX_REGIONS, regions
from edge_agent.judgement import Prediction
from edge_protocol.bundle import AnomalyOutput, ImageInput, OperatingPoint, SegmentationOutput
from edge_protocol.codes import Reason

SIDE = 64
POINT = OperatingPoint(accept=0.5, reject=0.8)
PARTS = SegmentationOutput(classes=("good", "rust", "hole"), anomalous=("rust", "hole"))


def view(size: tuple[int, int] | None = None, **image: object) -> View:
    """A tensor of 64 × 64, of a picture of `size`, height and width."""
    contract = ImageInput(**{"tensor": "image", "width": SIDE, "height": SIDE, **image})
    return View(contract, frame(contract) if size is None else place(contract, *size), POINT)


def anomaly(heatmap: np.ndarray, seen: View, score: float | None = None) -> Prediction:
    """What an anomaly model says."""
    peak = heatmap.max() if score is None else score
    outputs = {"map": heatmap[None].astype(np.float32), "score": np.array([peak], np.float32)}
    return predict(AnomalyOutput(), outputs, seen)


def hot(rows: slice, columns: slice, cells: int = SIDE) -> np.ndarray:
    """A map that is hot in one rectangle."""
    heatmap = np.zeros((cells, cells), np.float32)
    heatmap[rows, columns] = 0.9
    return heatmap


def extent(outline: np.ndarray) -> tuple[int, ...]:
    """Left, top, right and bottom of an outline."""
    return (*outline.min(axis=0).tolist(), *outline.max(axis=0).tolist())


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.floats(0.2, 0.9))
def test_a_region_is_as_large_as_it_has_pixels(seed: int, height: int, width: int, share: float) -> None:
    """For any mask the areas are those of the filled outlines, counted pixel by pixel."""
    mask = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    contract = ImageInput(tensor="image", width=width, height=height)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = [cv2.drawContours(np.zeros_like(mask), [each], -1, 1, cv2.FILLED).sum() for each in contours]

    found = regions(mask, mask.astype(np.float32), Box(0, 0, width, height), View(contract, frame(contract), POINT))

    assert [region.area for region in found] == sorted(filled, reverse=True)


def test_a_good_part_has_no_regions() -> None:
    """Below accept nothing is outlined, whatever the map: a good part pays nothing for it."""
    assert anomaly(hot(slice(0, 9), slice(0, 9)), view(), score=0.4).regions == ()


@pytest.mark.parametrize(
    ("image", "size", "expected"),
    [
        ({}, None, (8, 16, 23, 47)),
        ({}, (128, 256), (34, 33, 94, 95)),
        ({"geometry": "letterbox"}, (128, 256), (34, 2, 94, 126)),
        ({"geometry": "crop"}, (128, 256), (64 + 17, 33, 64 + 47, 95)),
        ({"roi": (100, 20, 128, 64)}, (128, 256), (100 + 17, 20 + 16, 100 + 47, 20 + 47)),
    ],
)
def test_a_region_lies_in_the_source(image: dict, size: tuple[int, int] | None, expected: tuple[int, ...]) -> None:
    """Whatever the geometry, an outline is told in pixels of the picture that the source gave."""
    found = anomaly(hot(slice(16, 48), slice(8, 24)), view(size, **image))

    assert extent(found.regions[0].outline) == expected
    assert found.regions[0].peak == pytest.approx(0.9)


def test_an_area_is_in_pixels_or_in_square_millimetres() -> None:
    """32 × 16 pixels of the tensor are so many of the source, and so many mm² where its scale is known."""
    heatmap = hot(slice(16, 48), slice(8, 24))

    in_pixels = anomaly(heatmap, view((128, 256)))
    in_mm = anomaly(heatmap, view((128, 256), mm_per_px=0.5))

    assert in_pixels.regions[0].area == 32 * 2 * 16 * 4
    assert in_mm.regions[0].area == 32 * 2 * 16 * 4 * 0.25


def test_regions_are_told_largest_first() -> None:
    """Each place above accept is a region of its own, with the highest value in it; a hole belongs to its region."""
    heatmap = hot(slice(2, 6), slice(2, 6)) + hot(slice(20, 50), slice(20, 50))
    heatmap[30:40, 30:40] = 0
    heatmap[22, 22] = 1.5

    found = anomaly(heatmap, view()).regions

    assert [(region.area, region.peak) for region in found] == [(900, 1.5), (16, pytest.approx(0.9))]


def test_a_single_hot_cell_is_shown() -> None:
    """A cell whose tip the smooth outline would lose is still a region."""
    heatmap = np.zeros((7, 7), np.float32)
    heatmap[3, 4] = 0.51

    (region,) = anomaly(heatmap, view()).regions

    assert extent(region.outline)[:2] >= (36, 26)
    assert extent(region.outline)[2:] <= (46, 37)


def test_a_tensor_of_any_size_is_outlined_on_a_bounded_grid() -> None:
    """A large tensor costs no frame: the outline keeps its place to a pixel of the grid."""
    contract = ImageInput(tensor="image", width=2048, height=1024)
    seen = View(contract, frame(contract), POINT)
    heatmap = np.zeros((32, 64), np.float32)
    heatmap[8:16, 16:32] = 0.9

    (region,) = anomaly(heatmap, seen).regions

    assert np.allclose(extent(region.outline), (512, 256, 1024, 512), atol=32)
    assert region.area == pytest.approx(512 * 256, rel=0.15)


def test_a_map_that_is_hot_everywhere_in_spots_tells_the_largest() -> None:
    """Of hundreds of regions some are told, and no part takes forever."""
    heatmap = np.zeros((SIDE, SIDE), np.float32)
    heatmap[::3, ::3] = 0.9

    assert len(anomaly(heatmap, view()).regions) == MAX_REGIONS


def test_a_map_that_is_no_number_is_an_engine_fault() -> None:
    """Where the score says that something is there, a map of NaN does not say where."""
    with pytest.raises(InferenceError) as caught:
        anomaly(np.full((8, 8), np.nan, np.float32), view(), score=0.9)

    assert caught.value.reason is Reason.ENGINE_FAULT


def masks(**where: tuple[slice, slice]) -> np.ndarray:
    """Values of good, rust and hole on 32 × 32 cells: each class wins in its place."""
    values = np.zeros((1, 3, 32, 32), np.float32)
    values[0, 0] = 0.5
    for place_, name in enumerate(("good", "rust", "hole")):
        if name in where:
            values[(0, place_, *where[name])] = 2.0
    return values


def segmented(values: np.ndarray, seen: View, **changes: object) -> Prediction:
    """What a segmentation model says."""
    contract = SegmentationOutput(**{n: getattr(PARTS, n) for n in PARTS.__struct_fields__} | changes)
    return predict(contract, {"masks": values}, seen)


def test_the_score_of_a_segmentation_is_its_largest_region() -> None:
    """Regions are told by class, largest first; the score is an area of the source, in mm² where the scale is known."""
    values = masks(rust=(slice(0, 4), slice(0, 8)), hole=(slice(10, 18), slice(10, 18)))

    found = segmented(values, view((128, 256)))
    in_mm = segmented(values, view((128, 256), mm_per_px=0.5))

    assert [(region.label, region.area) for region in found.regions] == [
        ("hole", 64 * 4 * 8),
        ("rust", 32 * 4 * 8),
    ]
    assert (found.score, found.label) == (64 * 32, "hole")
    assert in_mm.score == 64 * 32 / 4
    assert extent(found.regions[0].outline) == (84, 42, 140, 70)
    assert found.regions[0].peak == 2


def test_a_good_class_is_no_region() -> None:
    """Where nothing anomalous wins the score is zero."""
    found = segmented(masks(), view())

    assert (found.score, found.regions, found.label) == (0, (), "")


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_a_pixel_belongs_to_its_most_likely_class(seed: int) -> None:
    """For any values, equal ones too, the pixels of the regions are those where argmax says an anomalous class."""
    values = np.random.default_rng(seed).integers(0, 4, (1, 3, 16, 16)).astype(np.float32)
    winner = values[0].argmax(axis=0)
    contract = ImageInput(tensor="image", width=16, height=16)

    found = segmented(values, View(contract, frame(contract), POINT))

    shown = {name: np.zeros((16, 16), np.uint8) for name in ("rust", "hole")}
    for region in found.regions:
        cv2.drawContours(shown[region.label], [region.outline], -1, 1, cv2.FILLED)
    for place_, name in ((1, "rust"), (2, "hole")):
        own = (winner == place_).astype(np.uint8)
        outer, _ = cv2.findContours(own, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        assert np.array_equal(shown[name], cv2.drawContours(np.zeros_like(own), outer, -1, 1, cv2.FILLED))


def test_with_sigmoid_classes_are_independent() -> None:
    """A pixel is rust and hole at once where both logits reach zero, which is one half."""
    values = np.full((1, 3, 32, 32), -1.0, np.float32)
    values[0, 1:, 4:8, 4:8] = 0.0
    values[0, 0] = 9.0

    found = segmented(values, view(), activation="sigmoid")

    assert sorted((region.label, region.area) for region in found.regions) == [("hole", 64), ("rust", 64)]


def test_the_border_of_a_letterbox_is_no_part() -> None:
    """What a model says of the padding is not looked at."""
    values = masks(rust=(slice(0, 8), slice(0, 32)))

    assert segmented(values, view((128, 256), geometry="letterbox")).regions == ()
    assert segmented(values, view((128, 256))).score == 8 * 32 * 4 * 8


@pytest.mark.parametrize("values", [np.full((1, 3, 8, 8), np.nan), np.zeros((1, 2, 8, 8)), np.zeros((2, 3, 8, 8))])
def test_masks_that_are_no_answer_are_an_engine_fault(values: np.ndarray) -> None:
    """NaN, or another number of classes: never a part without a region."""
    with pytest.raises(InferenceError) as caught:
        segmented(values.astype(np.float32), view())

    assert caught.value.reason is Reason.ENGINE_FAULT
