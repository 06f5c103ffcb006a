import cv2
import numpy as np
import pytest

from edge_agent.inference.overlay import draw_overlay
from edge_agent.judgement import Break, Detection, Prediction, Region
from edge_protocol.bundle import ImageInput, OperatingPoint, Zone

POINT = OperatingPoint(accept=1.0, reject=1.2)


def drawn(picture: np.ndarray, heatmap: np.ndarray, **changes: object) -> np.ndarray:
    """The overlay, decoded again."""
    contract = ImageInput(**{"tensor": "image", "width": 224, "height": 224, **changes})
    return shown(picture, Prediction(0.0, heatmap.astype(np.float32)), contract, POINT)


def shown(picture: np.ndarray, prediction: Prediction, contract: ImageInput, point: OperatingPoint) -> np.ndarray:
    """The overlay of a prediction, decoded again."""
    encoded = draw_overlay(picture, prediction, contract, point)
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)


def hot(row: int, column: int) -> np.ndarray:
    """A heatmap with one hot place."""
    heatmap = np.full((14, 14), 0.3)
    heatmap[row, column] = 2.0
    return heatmap


def test_what_is_not_anomalous_is_left_as_it_was() -> None:
    """A part without heat looks like its picture."""
    picture = np.random.default_rng(9).integers(0, 256, (100, 150, 3), np.uint8)

    assert np.array_equal(drawn(picture, np.full((14, 14), 0.4)), picture)


@pytest.mark.parametrize(
    ("changes", "rows", "columns"),
    [
        ({}, slice(0, 100), slice(0, 100)),
        ({"geometry": "crop"}, slice(0, 100), slice(100, 200)),
        ({"geometry": "letterbox"}, slice(0, 100), slice(0, 100)),
        ({"roi": (200, 100, 200, 100)}, slice(100, 160), slice(200, 300)),
    ],
)
def test_heat_is_drawn_where_the_model_saw_it(changes: dict, rows: slice, columns: slice) -> None:
    """The tint lies in that quarter of the judged region where the heat was, whatever the geometry."""
    picture = np.full((200, 400, 3), 100, np.uint8)
    row = 4 if changes.get("geometry") == "letterbox" else 2

    changed = (drawn(picture, hot(row, 2), **changes) != picture).any(axis=2)

    assert changed[rows, columns].any()
    changed[rows, columns] = False
    assert not changed.any()


def test_a_grey_picture_gets_a_coloured_overlay() -> None:
    """Heat on grey is visible as colour."""
    overlay = drawn(np.full((100, 100), 100, np.uint8), hot(7, 7), colour="gray", mean=(0.0,), std=(1.0,))

    assert np.ptp(overlay.astype(int), axis=2).max() > 50


GREY = np.full((200, 400, 3), 100, np.uint8)
CONTRACT = ImageInput(tensor="image", width=224, height=224)
UPPER_LEFT = Zone(name="press", polygon=((0.0, 0.0), (0.5, 0.0), (0.5, 0.5), (0.0, 0.5)))


def is_red(picture: np.ndarray) -> np.ndarray:
    """Where red is the strongest by far."""
    return picture[..., 2].astype(int) > picture[..., :2].max(axis=2).astype(int) + 100


def is_green(picture: np.ndarray) -> np.ndarray:
    """Where green is the strongest by far."""
    return picture[..., 1].astype(int) > picture[..., ::2].max(axis=2).astype(int) + 50


def test_a_region_is_outlined_where_it_is() -> None:
    """The outline is drawn at its place in the source, and its area stands beside it."""
    outline = np.array([(300, 150), (340, 150), (340, 180), (300, 180)], np.int32)

    overlay = shown(GREY, Prediction(2.0, regions=(Region(outline, 1200.0, 2.0),)), CONTRACT, POINT)

    assert is_red(overlay)[150, 320]
    assert is_red(overlay)[180, 320]
    changed = (overlay != GREY).any(axis=2)
    assert not changed[:, :290].any()
    assert changed[130:148, 300:].any()


@pytest.mark.parametrize(("score", "red"), [(0.9, True), (0.1, False)])
def test_a_broken_zone_is_red(*, score: float, red: bool) -> None:
    """A zone whose break reaches accept is red, another green; each carries its name."""
    point = OperatingPoint(accept=0.3, reject=0.6, zones=(UPPER_LEFT,))

    overlay = shown(GREY, Prediction(score, breaks=(Break("press", score),)), CONTRACT, point)

    assert (is_red(overlay)[100, 50], is_green(overlay)[100, 50]) == (red, not red)
    assert np.array_equal(overlay[120:, 220:], GREY[120:, 220:])


@pytest.mark.parametrize(
    ("zones", "broken", "red"), [((UPPER_LEFT,), ("press",), True), ((UPPER_LEFT,), (), False), ((), (), True)]
)
def test_a_thing_is_red_if_it_breaks_a_rule(*, zones: tuple[Zone, ...], broken: tuple[str, ...], red: bool) -> None:
    """A box inside a forbidden zone is red, another green; where there are no zones every thing is a break."""
    point = OperatingPoint(accept=0.3, reject=0.6, zones=zones)
    thing = Detection("person", 0.5, (300.0, 120.0, 340.0, 180.0), broken)

    overlay = shown(GREY, Prediction(0.5, detections=(thing,)), CONTRACT, point)

    assert (is_red(overlay)[150, 300], is_green(overlay)[150, 300]) == (red, not red)


def test_what_is_drawn_leaves_the_picture_as_it_was() -> None:
    """The overlay is a copy, and a name at the rim lies within it."""
    picture = GREY.copy()
    thing = Detection("a thing with a long name", 0.5, (390.0, 0.0, 399.0, 9.0))

    overlay = shown(picture, Prediction(0.5, detections=(thing,)), CONTRACT, POINT)

    assert np.array_equal(picture, GREY)
    assert overlay.shape == GREY.shape
    assert is_red(overlay)[:20, 250:380].any()
