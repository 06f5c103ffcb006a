import cv2
import numpy as np
import pytest

from edge_agent.inference.overlay import draw_overlay
from edge_protocol.bundle import ImageInput, OperatingPoint

POINT = OperatingPoint(accept=1.0, reject=1.2)


def drawn(picture: np.ndarray, heatmap: np.ndarray, **changes: object) -> np.ndarray:
    """The overlay, decoded again."""
    contract = ImageInput(**{"tensor": "image", "width": 224, "height": 224, **changes})
    encoded = draw_overlay(picture, heatmap.astype(np.float32), contract, POINT)
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
