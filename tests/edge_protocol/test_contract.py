"""What inputs, outputs and operating points must keep among themselves, beyond their types."""

import msgspec
import pytest

from edge_protocol import contract_rules as rules
from edge_protocol.contract import (
    ClassOutput,
    Constant,
    DetectionOutput,
    ImageInput,
    OperatingPoint,
    RegressionOutput,
    SegmentationOutput,
    State,
    TensorInput,
    Zone,
)

SQUARE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))
PEOPLE = DetectionOutput(classes=("person", "car"), boxes="boxes")
CLASSES = ClassOutput(classes=("good", "bad"), anomalous=("bad",))
IMAGE = ImageInput(tensor="image", width=8, height=8)
TENSOR = TensorInput(tensor="x", shape=(1, 4))


def point(**changes: object) -> OperatingPoint:
    """An operating point, with changes."""
    return OperatingPoint(**{"accept": 0.4, "reject": 0.6, **changes})


def zone(**changes: object) -> Zone:
    """A zone, with changes."""
    return Zone(**{"name": "press", "polygon": SQUARE, **changes})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"accept": 0.7}, "accept"),
        ({"accept": float("nan")}, "accept"),
        ({"min_area": -1.0}, "min_area"),
        ({"hysteresis": float("nan")}, "hysteresis"),
        ({"persistence": (0, 1)}, "persistence"),
        ({"persistence": (3, 2)}, "persistence"),
        ({"persistence": (1, 1001)}, "persistence"),
        ({"zones": (zone(name=""),)}, "zone"),
        ({"zones": (zone(polygon=SQUARE[:2]),)}, "corners"),
        ({"zones": (zone(polygon=((0.0, 0.0), (2.0, 0.0), (1.0, 1.0))),)}, "shares"),
        ({"zones": (zone(count=0),)}, "count"),
        ({"zones": (zone(), zone())}, "name of its own"),
    ],
)
def test_an_operating_point_is_refused_by_its_field(changes: dict, says: str) -> None:
    """Thresholds in order, k of n, zones that are polygons of shares with names of their own."""
    found = list(rules.point_problems(point(**changes)))

    assert any(says in problem for problem in found)
    assert list(rules.point_problems(point())) == []


@pytest.mark.parametrize(
    ("asked", "output", "says"),
    [
        (zone(classes=("persons",)), PEOPLE, "persons"),
        (zone(), CLASSES, "does not make"),
        (zone(classes=("bad",)), CLASSES, "bad"),
        (zone(classes=("car",)), PEOPLE, ""),
        (zone(), PEOPLE, ""),
    ],
)
def test_a_zone_asks_for_what_is_detected(asked: Zone, output: msgspec.Struct, says: str) -> None:
    """A class that the model does not know would never break the rule, and everything would look like OK."""
    found = list(rules.suit_problems(point(zones=(asked,)), output))

    assert bool(found) is bool(says)
    assert all(says in problem for problem in found)


@pytest.mark.parametrize(
    ("task", "given", "output", "says"),
    [
        ("detection", IMAGE, CLASSES, "does not go"),
        ("detection", TENSOR, PEOPLE, "does not go"),
        ("detection", IMAGE, DetectionOutput(classes=("a", "a"), boxes="b"), "classes"),
        ("detection", IMAGE, DetectionOutput(classes=("a",), boxes="b", form="split"), "scores"),
        ("detection", IMAGE, DetectionOutput(classes=("a",), boxes="b", iou=0.0), "iou"),
        ("detection", IMAGE, DetectionOutput(classes=("a",), boxes="b", max_boxes=0), "max_boxes"),
        ("segmentation", IMAGE, SegmentationOutput(classes=("a",), anomalous=()), "anomalous"),
        ("segmentation", IMAGE, SegmentationOutput(classes=("a",), anomalous=("b",)), "b among them"),
        ("tensor-regression", TensorInput(tensor="x", shape=()), RegressionOutput(), "shape"),
        ("tensor-regression", TensorInput(tensor="x", shape=(2**14, 2**14)), RegressionOutput(), "values"),
        ("tensor-regression", TensorInput(tensor="x", shape=(4,), mean=(1.0,), std=(1.0,)), RegressionOutput(), "mean"),
        ("tensor-classification", TENSOR, CLASSES, ""),
        ("detection", IMAGE, PEOPLE, ""),
    ],
)
def test_input_and_output_are_refused_by_their_field(
    task: str, given: msgspec.Struct, output: msgspec.Struct, says: str
) -> None:
    """Kinds that go with the task, classes that are there once, sizes that a gateway can hold."""
    found = list(rules.task_problems(task, given, output))

    assert bool(found) is bool(says)
    assert any(says in problem for problem in found) is bool(says)


@pytest.mark.parametrize(
    ("states", "constants", "says"),
    [
        ((State(input="a", output="b", shape=(1, 0)),), (), "shape"),
        ((State(input="a", output="b", shape=(1,)),), (Constant(input="a", values=(1.0,)),), "once"),
        ((), (Constant(input="a", values=(1.0, 2.0), shape=(3,)),), "as many"),
        ((), (Constant(input="a", values=()),), "as many"),
        ((), (Constant(input="a", values=(1.5,), dtype="int64"),), "whole"),
        ((), (Constant(input="a", values=(256.0,), dtype="uint8"),), "whole"),
        ((), (Constant(input="a", values=(float("inf"),), dtype="int32"),), "whole"),
        ((), (Constant(input="a", values=(16000.0,), dtype="int64"),), ""),
        ((), (Constant(input="a", values=(1.0,), shape=(3,)), Constant(input="b", values=(1.0,))), ""),
    ],
)
def test_what_a_graph_is_fed_is_refused_by_its_field(
    states: tuple[State, ...], constants: tuple[Constant, ...], says: str
) -> None:
    """Each input once, a value for all of a constant or one for each."""
    found = list(rules.feed_problems(states, constants))

    assert bool(found) is bool(says)
    assert any(says in problem for problem in found) is bool(says)
