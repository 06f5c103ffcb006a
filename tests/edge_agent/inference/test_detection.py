import math
import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import InferenceError
from edge_agent.inference.geometry import frame, place
from edge_agent.inference.postprocess import View, predict
from edge_agent.inference.postprocess.candidates import Candidates
from edge_agent.inference.postprocess.suppression import suppress
from edge_agent.judgement import Prediction
from edge_protocol.bundle import DetectionOutput, ImageInput, OperatingPoint, Zone
from edge_protocol.codes import Reason

SIDE = 64
CLASSES = ("person", "rider", "car")
LEFT = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
PACKED = DetectionOutput(classes=CLASSES, boxes="rows")
SPLIT = DetectionOutput(classes=CLASSES, boxes="boxes", scores="scores", form="split")
CENTRES = DetectionOutput(classes=CLASSES, boxes="sides", scores="heat", form="centernet", min_score=0.3)


def seen_by(
    contract: DetectionOutput,
    outputs: dict[str, np.ndarray],
    *,
    zones: tuple[Zone, ...] = (),
    size: tuple[int, int] | None = None,
    **image: object,
) -> Prediction:
    """What a detector of 64 × 64 says, of a picture of `size`, height and width."""
    tensor = ImageInput(**{"tensor": "image", "width": SIDE, "height": SIDE, **image})
    placement = frame(tensor) if size is None else place(tensor, *size)
    point = OperatingPoint(accept=0.3, reject=0.6, zones=zones)
    return predict(contract, outputs, View(tensor, placement, point))


def rows(*boxes: tuple[float, ...]) -> dict[str, np.ndarray]:
    """The output of the packed form."""
    return {"rows": np.array(boxes, np.float32).reshape(1, -1, 6)}


def test_a_packed_row_is_a_box_a_score_and_a_class() -> None:
    """x1 y1 x2 y2 score class becomes a detection, strongest first; what is weaker than min_score is not looked at."""
    found = seen_by(PACKED, rows((1, 2, 11, 22, 0.5, 2), (30, 30, 40, 40, 0.75, 0), (0, 0, 9, 9, 0.2, 0)))

    assert [(d.label, d.score, d.box) for d in found.detections] == [
        ("person", 0.75, (30, 30, 40, 40)),
        ("car", 0.5, (1, 2, 11, 22)),
    ]
    assert (found.score, found.label) == (0.75, "person")


def test_the_forms_say_the_same() -> None:
    """One box is one detection whether its corners, its centre, its shares or its logits are told."""
    box, middle, score = (8.0, 16.0, 24.0, 48.0), (16.0, 32.0, 16.0, 32.0), 0.625
    logit = math.log(score / (1 - score))
    labelled = {"boxes": np.array([[box]]), "scores": np.array([[score]]), "numbers": np.array([[2]], np.int64)}
    told = [
        seen_by(PACKED, rows((*box, score, 2))),
        seen_by(SPLIT, {"boxes": np.array([[box]]), "scores": np.array([[[0.0, 0.1, score]]])}),
        seen_by(change(SPLIT, labels="numbers"), labelled),
        seen_by(
            change(SPLIT, corners="cxcywh"), {"boxes": np.array([[middle]]), "scores": np.array([[[0, 0, score]]])}
        ),
        seen_by(
            change(SPLIT, units="shares", activation="sigmoid"),
            {"boxes": np.array([[box]]) / SIDE, "scores": np.array([[[-9.0, -9.0, logit]]])},
        ),
    ]

    for prediction in told:
        (thing,) = prediction.detections
        assert (thing.label, thing.box) == ("car", box)
        assert thing.score == pytest.approx(score)


def change(contract: DetectionOutput, **changes: object) -> DetectionOutput:
    """The contract with some fields changed."""
    return DetectionOutput(**{name: getattr(contract, name) for name in contract.__struct_fields__} | changes)


def test_min_score_is_a_score_and_no_logit() -> None:
    """What the graph leaves out is done before a score is compared."""
    logits = np.array([[[-1.0], [-1.2], [0.0]]])
    contract = DetectionOutput(
        classes=("person",), boxes="boxes", scores="scores", form="split", activation="sigmoid", min_score=0.25
    )
    boxes = np.array([[(0, 0, 9, 9), (20, 0, 29, 9), (40, 0, 49, 9)]])

    found = seen_by(contract, {"boxes": boxes, "scores": logits})

    assert [d.score for d in found.detections] == [0.5, pytest.approx(1 / (1 + np.e))]


def test_one_box_may_be_two_things() -> None:
    """Each class that reaches min_score counts: a rider does not hide the person that a zone asks for."""
    scores = np.array([[[0.5, 0.75, 0.0]]])

    found = seen_by(SPLIT, {"boxes": np.array([[(0, 0, 9, 9)]]), "scores": scores})

    assert [(d.label, d.score) for d in found.detections] == [("rider", 0.75), ("person", 0.5)]


def centres(peaks: dict[tuple[int, int, int], float]) -> dict[str, np.ndarray]:
    """Heat of 16 × 16 cells with values at (row, column, class), and distances of 4, 8, 12 and 16 pixels."""
    heat = np.zeros((1, 16, 16, 3), np.float32)
    for place_, value in peaks.items():
        heat[(0, *place_)] = value
    return {"heat": heat, "sides": np.broadcast_to(np.array([4, 8, 12, 16], np.float32), (1, 16, 16, 4))}


def test_a_centre_is_the_maximum_of_its_neighbourhood() -> None:
    """A cell counts if no neighbour in its class exceeds it, at the rim too; its distances are pixels of the tensor."""
    found = seen_by(
        CENTRES,
        centres({(5, 6, 0): 0.875, (5, 7, 0): 0.75, (6, 7, 0): 0.5, (5, 8, 2): 0.625, (0, 0, 1): 0.5, (9, 9, 1): 0.25}),
    )

    assert [(d.label, d.score, d.box) for d in found.detections] == [
        ("person", 0.875, (6 * 4 - 4, 5 * 4 - 8, 6 * 4 + 12, 5 * 4 + 16)),
        ("car", 0.625, (8 * 4 - 4, 5 * 4 - 8, 8 * 4 + 12, 5 * 4 + 16)),
        ("rider", 0.5, (0, 0, 12, 16)),
    ]


def test_a_heat_map_is_looked_at_where_it_lies() -> None:
    """Of five megabytes of heat nothing is copied but what reaches min_score."""
    classes = tuple(map(str, range(80)))
    contract = change(CENTRES, classes=classes)
    heat = np.zeros((1, 128, 128, 80), np.float32)
    heat[0, 40:60:5, 40:60:5, 0] = 0.9
    outputs = {"heat": heat, "sides": np.full((1, 128, 128, 4), 2, np.float32)}
    seen_by(contract, outputs)
    tracemalloc.start()

    found = seen_by(contract, outputs)

    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.detections) == 16
    assert peak < 500_000


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_centres_are_those_of_a_dense_maximum(seed: int) -> None:
    """Looking only at what reaches min_score finds exactly the peaks of a 3 × 3 maximum over all of the heat."""
    heat = np.random.default_rng(seed).choice(np.linspace(0, 1, 12), (1, 16, 16, 3)).astype(np.float32)
    dense = np.stack([cv2.dilate(heat[0, :, :, k], np.ones((3, 3))) for k in range(3)], axis=-1)
    expected = np.sort(heat[0][(heat[0] == dense) & (heat[0] >= np.float32(0.3))])[::-1]

    found = seen_by(
        change(CENTRES, iou=1.0, max_boxes=10_000), {"heat": heat, "sides": np.full((1, 16, 16, 4), 1e-3, np.float32)}
    )

    inside = [d.score for d in found.detections]
    assert len(inside) == len(expected)
    assert np.allclose(inside, expected)


def slowly(found: Candidates, iou: float, limit: int) -> list[int]:
    """Suppression box by box, in so many words."""
    kept: list[int] = []
    for at, (box, label) in enumerate(zip(found.boxes, found.labels, strict=True)):
        if len(kept) < limit and not any(found.labels[k] == label and overlap(found.boxes[k], box) > iou for k in kept):
            kept.append(at)
    return kept


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / max((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared, 1e-12)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(0, 200), st.floats(0.05, 0.95), st.integers(1, 90))
def test_suppression_is_the_greedy_one(seed: int, count: int, iou: float, limit: int) -> None:
    """For any boxes exactly those stay that a plain loop keeps."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 80, (count, 2))
    boxes = np.hstack((corners, corners + rng.integers(1, 24, (count, 2)))).astype(float)
    found = Candidates(boxes, np.sort(rng.random(count))[::-1], rng.integers(0, 3, count))

    assert suppress(found, iou, limit).tolist() == slowly(found, iou, limit)


@pytest.mark.parametrize(
    ("image", "size", "box"),
    [
        ({}, (128, 256), (32, 16, 128, 64)),
        ({"geometry": "letterbox"}, (128, 256), (32, 0, 128, 64)),
        ({"geometry": "crop"}, (128, 256), (64 + 16, 16, 64 + 64, 64)),
        ({"roi": (100, 20, 128, 64)}, (128, 256), (100 + 16, 20 + 8, 100 + 64, 20 + 32)),
    ],
)
def test_boxes_lie_in_the_source(image: dict, size: tuple[int, int], box: tuple[float, ...]) -> None:
    """Whatever the geometry, a box is told in pixels of the picture that the source gave, and never leaves it."""
    found = seen_by(PACKED, rows((8, 8, 32, 32, 0.5, 0)), size=size, **image)

    assert found.detections[0].box == box


def test_what_lies_in_the_border_of_a_letterbox_was_not_seen() -> None:
    """A box that is wholly outside of the picture is no detection."""
    found = seen_by(PACKED, rows((8, 1, 32, 12, 0.5, 0)), size=(128, 256), geometry="letterbox")

    assert found.detections == ()
    assert found.score == 0


def test_a_person_in_a_zone_is_a_break() -> None:
    """The strongest of the zone's classes whose foot is inside counts; others, and other classes, do not."""
    zone = Zone(name="press", polygon=LEFT, classes=("person",))

    found = seen_by(
        PACKED,
        rows((40, 0, 60, 30, 0.875, 0), (0, 0, 20, 30, 0.5, 0), (0, 30, 20, 60, 0.625, 0), (0, 0, 9, 9, 0.75, 2)),
        zones=(zone,),
    )

    assert found.score == 0.625
    assert [(b.zone, b.score) for b in found.breaks] == [("press", 0.625)]
    assert [d.zones for d in found.detections] == [(), (), ("press",), ("press",)]


def test_the_anchor_is_the_point_that_counts() -> None:
    """A box that reaches over the edge is inside by its foot or by its centre, as the zone says; an edge is inside."""
    upper = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.5), (0.0, 0.5))
    box = rows((10, 10, 20, 40, 0.5, 0))
    on_the_edge = rows((10, 10, 20, 32, 0.5, 0))

    assert seen_by(PACKED, box, zones=(Zone(name="a", polygon=upper),)).score == 0
    assert seen_by(PACKED, box, zones=(Zone(name="a", polygon=upper, anchor="centre"),)).score == 0.5
    assert seen_by(PACKED, on_the_edge, zones=(Zone(name="a", polygon=upper),)).score == 0.5


def test_a_zone_is_the_same_place_whatever_the_geometry() -> None:
    """Shares are of the source picture, not of the tensor: a letterbox moves no zone."""
    upper = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.5), (0.0, 0.5))
    zones = (Zone(name="upper", polygon=upper),)
    foot_at_30_of_64 = rows((10, 18, 20, 30, 0.5, 0))

    assert seen_by(PACKED, foot_at_30_of_64, zones=zones, size=(128, 256), geometry="letterbox").score == 0.5
    assert (
        seen_by(PACKED, rows((10, 18, 20, 34, 0.5, 0)), zones=zones, size=(128, 256), geometry="letterbox").score == 0
    )


@pytest.mark.parametrize(("count", "score"), [(1, 0.125), (2, 0.25), (3, 1.0)])
def test_what_must_be_there_is_missed(count: int, score: float) -> None:
    """The break scores one minus the count-th strongest inside, and 1 where there are not so many."""
    zone = Zone(name="tray", polygon=LEFT, rule="present", count=count)
    inside = rows((0, 0, 9, 9, 0.875, 2), (0, 20, 9, 29, 0.75, 2), (50, 0, 59, 9, 1.0, 2))

    found = seen_by(PACKED, inside, zones=(zone,))

    assert found.score == score
    assert all(d.zones == () for d in found.detections)


def test_the_worst_break_is_the_score() -> None:
    """Of several zones the one that is broken most decides; each is told."""
    zones = (
        Zone(name="off", polygon=LEFT, classes=("person",)),
        Zone(name="cover", polygon=LEFT, classes=("car",), rule="present"),
    )

    found = seen_by(PACKED, rows((0, 0, 9, 9, 0.5, 0), (0, 20, 9, 29, 0.875, 2)), zones=zones)

    assert [(b.zone, b.score) for b in found.breaks] == [("off", 0.5), ("cover", 0.125)]
    assert found.score == 0.5


@pytest.mark.parametrize(
    ("contract", "outputs"),
    [
        (PACKED, rows((0, 0, 9, 9, np.nan, 0))),
        (PACKED, rows((0, np.inf, 9, 9, 0.5, 0))),
        (PACKED, rows((0, 0, 9, 9, 0.5, 3))),
        (PACKED, rows((0, 0, 9, 9, 0.5, -1))),
        (PACKED, rows((0, 0, 9, 9, 0.5, 0.5))),
        (PACKED, {"rows": np.zeros((1, 4, 7), np.float32)}),
        (SPLIT, {"boxes": np.zeros((1, 4, 4)), "scores": np.zeros((1, 4, 2))}),
        (SPLIT, {"boxes": np.zeros((1, 4, 4)), "scores": np.full((1, 4, 3), np.nan)}),
        (CENTRES, {"heat": np.full((1, 8, 8, 3), np.nan, np.float32), "sides": np.zeros((1, 8, 8, 4))}),
        (CENTRES, {"heat": np.zeros((1, 8, 8, 2), np.float32), "sides": np.zeros((1, 8, 8, 4))}),
        (CENTRES, {"heat": np.zeros((1, 8, 8, 3), np.float32), "sides": np.zeros((1, 4, 4, 4))}),
    ],
)
def test_an_answer_that_is_none_is_an_engine_fault(contract: DetectionOutput, outputs: dict[str, np.ndarray]) -> None:
    """Scores that are no numbers, classes that nobody named, other shapes: never a picture with nothing in it."""
    with pytest.raises(InferenceError) as caught:
        seen_by(contract, outputs)

    assert caught.value.reason is Reason.ENGINE_FAULT


def test_nothing_found_is_no_break() -> None:
    """No rows at all, as a graph with its own suppression may give, score zero."""
    assert seen_by(PACKED, {"rows": np.zeros((1, 0, 6), np.float32)}).score == 0
