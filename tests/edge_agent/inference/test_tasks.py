from pathlib import Path

import numpy as np
import pytest

from edge_agent.errors import InferenceError
from edge_agent.inference.model import Model
from edge_agent.sample import Channel, Sample
from edge_protocol.bundle import (
    ClassOutput,
    Constant,
    DetectionOutput,
    ImageInput,
    OperatingPoint,
    SegmentationOutput,
    State,
    TensorInput,
    WindowAnomalyOutput,
    WindowInput,
    Zone,
)
from edge_protocol.codes import Reason, Verdict
from tests.edge_agent.inference import small_graphs
from tests.edge_agent.inference.small_bundles import png, write_bundle
from tests.edge_agent.inference.small_graphs import COUNTER, manifest

TREE = {
    "task": "tensor-classification",
    "input": TensorInput(tensor="features", shape=(1, 2), dtype="float64"),
    "output": ClassOutput(classes=("good", "worn"), anomalous=("worn",)),
}


def loaded(folder: Path, graph: bytes, **fields: object) -> Model:
    """A bundle of a graph, loaded as the line would."""
    return Model.load(write_bundle(folder / "bundle", manifest(**fields), {"fp32.onnx": graph}))


def seen(data: bytes | np.ndarray) -> Sample:
    """A sample of one channel."""
    return Sample({"any": Channel(data, 0)})


def test_a_detector_runs_by_its_manifest(tmp_path: Path) -> None:
    """uint8, NHWC: a box in the source, the zone that it breaks, the verdict of the worst break."""
    zone = Zone(name="press", polygon=((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)), classes=("person",))
    model = loaded(
        tmp_path,
        small_graphs.detector(),
        task="detection",
        input=ImageInput(tensor="image", width=32, height=32, layout="nhwc", dtype="uint8"),
        output=DetectionOutput(classes=("person",), boxes="rows"),
        operating_point=OperatingPoint(accept=0.4, reject=0.6, zones=(zone,)),
    )

    bright, _ = model.judge(seen(png(np.full((64, 128, 3), 204, np.uint8))))
    dark, _ = model.judge(seen(np.full((64, 128, 3), 51, np.uint8)))

    (thing,) = bright.detections
    assert (thing.label, thing.box, thing.zones) == ("person", (32, 16, 96, 32), ("press",))
    assert bright.score == pytest.approx(0.8)
    assert model.verdict(bright) == (Verdict.NG, Reason.SCORE_REJECT)
    assert (dark.detections, model.verdict(dark)[0]) == ((), Verdict.OK)


def test_a_segmenter_runs_by_its_manifest(tmp_path: Path) -> None:
    """Free dimensions are fixed by name; the area of the largest dark region in mm² is the score."""
    model = loaded(
        tmp_path,
        small_graphs.segmenter(),
        task="segmentation",
        input=ImageInput(tensor="image", width=32, height=32, colour="gray", mean=(0.0,), std=(255.0,), mm_per_px=0.5),
        output=SegmentationOutput(classes=("good", "hole"), anomalous=("hole",)),
        operating_point=OperatingPoint(accept=2.0, reject=10.0, min_area=4.0),
        dimensions={"batch": 1, "height": 32, "width": 32},
    )
    part = np.full((64, 64), 255, np.uint8)
    part[8:24, 16:40] = 0

    holed, _ = model.judge(seen(part))
    good, _ = model.judge(seen(np.full((64, 64), 255, np.uint8)))

    assert holed.score == 16 * 24 * 0.25
    assert [(region.label, region.area) for region in holed.regions] == [("hole", 16 * 24 * 0.25)]
    assert model.verdict(holed)[0] is Verdict.NG
    assert (good.score, model.verdict(good)[0]) == (0, Verdict.OK)


def test_a_window_anomaly_says_what_adds_to_it(tmp_path: Path) -> None:
    """The score is the graph's, the parts are what each value adds to it."""
    model = loaded(
        tmp_path,
        small_graphs.watcher(),
        task="window-anomaly",
        input=WindowInput(tensor="window", length=8, rate_hz=1.0, features="raw"),
        output=WindowAnomalyOutput(parts="parts"),
    )

    found, signals = model.judge(seen(np.array([0, 0, 0.5, 0, 0, 1, 0, 0])))

    assert found.score == 1.25
    assert found.parts is not None
    assert found.parts.tolist() == [0, 0, 0.25, 0, 0, 1, 0, 0]
    assert model.verdict(found)[0] is Verdict.NG
    assert signals["crest"] > 1


def test_a_state_is_carried_from_window_to_window(tmp_path: Path) -> None:
    """Zeros before the first and after `forget`; a golden or a twin in between changes nothing."""
    model = loaded(tmp_path, small_graphs.counter(), **COUNTER)
    ones = np.ones(4)
    twin = model.twin()

    values = [model.judge(seen(ones))[0].value for _ in range(3)]
    apart = [float(model.run(np.ones((1, 4)))["value"][0, 0]), twin.judge(seen(ones))[0].value]
    after = model.judge(seen(ones))[0].value
    model.forget()

    assert values == [8, 16, 24]
    assert apart == [8, 8]
    assert after == 32
    assert model.judge(seen(ones))[0].value == 8


def test_a_regression_has_a_value_and_a_unit(tmp_path: Path) -> None:
    """Where low is worse the score is minus the value: hours that are left."""
    model = loaded(tmp_path, small_graphs.counter(), **COUNTER)

    much, _ = model.judge(seen(np.full(4, 10.0)))
    model.forget()
    little, _ = model.judge(seen(np.full(4, 1.0)))

    assert (much.value, much.unit, much.score) == (80, "h", -80)
    assert [model.verdict(each)[0] for each in (much, little)] == [Verdict.OK, Verdict.NG]


@pytest.mark.parametrize("is_zipped", [False, True])
def test_a_tree_ensemble_runs_by_its_manifest(tmp_path: Path, is_zipped: bool) -> None:  # noqa: FBT001
    """float64 features, int64 labels beside the probabilities, these as a tensor or as the dictionary of a ZipMap."""
    model = loaded(tmp_path, small_graphs.tree(is_zipped=is_zipped), **TREE)

    good, _ = model.judge(seen(np.array([1.5, 99.0])))
    worn, _ = model.judge(seen(np.array([1.5 + 1e-12, 0.0])))

    assert (good.label, good.score) == ("good", 0.125)
    assert (worn.label, worn.score) == ("worn", 0.75)


def change(fields: dict, **changes: object) -> dict:
    """Fields of a manifest, some of them others."""
    return fields | changes


@pytest.mark.parametrize(
    ("graph", "fields", "field", "says"),
    [
        ("tree", change(TREE, input=TensorInput(tensor="features", shape=(1, 2))), "input.tensor", "float32"),
        ("tree", change(TREE, input=TensorInput(tensor="x", shape=(1, 2))), "input.tensor", "no 'x'"),
        ("tree", change(TREE, input=TensorInput(tensor="features", shape=(2,), dtype="float64")),
         "input.tensor", "[2]"),
        ("tree", change(TREE, output=ClassOutput(classes=("a", "b", "c"), anomalous=("c",))), "output.prob", "[3]"),
        ("tree", change(TREE, output=ClassOutput(classes=("a", "b"), anomalous=("b",), probabilities="p")),
         "output.prob", "no 'p'"),
        ("counter", change(COUNTER, states=()), "states", "'before'"),
        ("counter", change(COUNTER, constants=()), "constants", "'gain'"),
        ("counter", change(COUNTER, constants=(Constant(input="gain", values=(2.0,)),)), "constants[]", "float32"),
        ("counter", change(COUNTER, constants=(Constant(input="gain", values=(2.0,), shape=(1,), dtype="float64"),)),
         "constants[]", "[1]"),
        ("counter", change(COUNTER, states=(State(input="before", output="total", shape=(1, 2), dtype="float64"),)),
         "states[].input", "[1, 2]"),
        ("counter", change(COUNTER, states=(State(input="before", output="end", shape=(1, 1), dtype="float64"),)),
         "states[].output", "no 'end'"),
        ("open_counter", change(COUNTER, constants=()), "states[].output", "[1, 2]"),
        ("counter", change(COUNTER, dimensions={"width": 3}), "dimensions", "no width, it has none"),
        ("segmenter", {"task": "segmentation", "output": SegmentationOutput(classes=("a", "b"), anomalous=("b",)),
                       "input": ImageInput(tensor="image", width=32, height=32, colour="gray", mean=(0,), std=(1,)),
                       "dimensions": {"heigth": 32}}, "dimensions", "heigth"),
        ("watcher", {"task": "window-anomaly", "output": WindowAnomalyOutput(score="parts"),
                     "input": WindowInput(tensor="window", length=8, rate_hz=1.0, features="raw")},
         "output.score", "[1, 8]"),
        ("detector", {"task": "detection", "output": DetectionOutput(classes=("a",), boxes="rows", scores="rows",
                                                                     form="split"),
                      "input": ImageInput(tensor="image", width=32, height=32, layout="nhwc", dtype="uint8")},
         "output.boxes", "4"),
        ("detector", {"task": "detection", "output": DetectionOutput(classes=("a",), boxes="rows"),
                      "input": ImageInput(tensor="image", width=32, height=32, dtype="uint8")},
         "input.tensor", "[1, 3, 32, 32]"),
    ],
)  # fmt: skip
def test_a_manifest_that_disagrees_with_its_graph_says_where(
    tmp_path: Path, graph: str, fields: dict, field: str, says: str
) -> None:
    """Name, type, rank and sides of every input, state, constant and output are compared at load."""
    with pytest.raises(InferenceError) as caught:
        loaded(tmp_path, getattr(small_graphs, graph)(), **fields)

    assert caught.value.reason is Reason.NO_MODEL
    assert field in str(caught.value)
    assert says in str(caught.value)
    assert caught.value.hint
