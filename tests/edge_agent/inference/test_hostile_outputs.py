import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge_agent.errors import InferenceError
from edge_agent.inference.decision import Decider, verdict
from edge_agent.inference.geometry import place
from edge_agent.inference.postprocess import View, output_names, predict
from edge_agent.judgement import Prediction
from edge_protocol.bundle import (
    AnomalyOutput,
    ClassOutput,
    DetectionOutput,
    ImageInput,
    OperatingPoint,
    OutputContract,
    RegressionOutput,
    SegmentationOutput,
    WindowAnomalyOutput,
    Zone,
)
from edge_protocol.codes import Reason

ZONE = Zone(name="z", polygon=((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)))
POINT = OperatingPoint(accept=0.3, reject=0.6, min_area=2.0, persistence=(2, 3), hysteresis=0.1, zones=(ZONE,))
IMAGE = ImageInput(tensor="image", width=16, height=16, geometry="letterbox")
VIEW = View(IMAGE, place(IMAGE, 20, 33), POINT)
CONTRACTS: list[tuple[OutputContract, tuple[tuple[int, ...], ...]]] = [
    (AnomalyOutput(), ((1, 4, 4), (1,))),
    (ClassOutput(classes=("a", "b"), anomalous=("b",), probabilities="p"), ((1, 2),)),
    (ClassOutput(classes=("a", "b"), anomalous=("b",), probabilities="p", activation="softmax"), ((1, 2),)),
    (ClassOutput(classes=("a", "b"), anomalous=("b",), probabilities="p", activation="sigmoid"), ((1, 2),)),
    (DetectionOutput(classes=("a", "b"), boxes="x"), ((1, 3, 6),)),
    (DetectionOutput(classes=("a", "b"), boxes="x", scores="s", form="split"), ((1, 3, 4), (1, 3, 2))),
    (DetectionOutput(classes=("a", "b"), boxes="x", scores="s", labels="l", form="split", activation="sigmoid"),
     ((1, 3, 4), (1, 3), (1, 3))),
    (DetectionOutput(classes=("a", "b"), boxes="x", scores="s", form="centernet"), ((1, 4, 4, 4), (1, 4, 4, 2))),
    (SegmentationOutput(classes=("a", "b"), anomalous=("b",)), ((1, 2, 4, 4),)),
    (SegmentationOutput(classes=("b",), anomalous=("b",), activation="sigmoid"), ((1, 1, 4, 4),)),
    (WindowAnomalyOutput(parts="q"), ((1,), (1, 4))),
    (RegressionOutput(), ((1,),)),
]  # fmt: skip
NUMBERS = st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0, -1.0, 7.5, 1e30, -1e30, math.nan, math.inf, -math.inf])
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)


def said(contract: OutputContract, outputs: dict[str, np.ndarray]) -> Prediction | InferenceError:
    """The prediction, or why there is none."""
    try:
        return predict(contract, outputs, VIEW)
    except InferenceError as error:
        return error


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(CONTRACTS), st.data())
def test_whatever_a_graph_gives_is_a_finite_score_or_an_engine_fault(
    case: tuple[OutputContract, tuple[tuple[int, ...], ...]], data: st.DataObject
) -> None:
    """Any shape, any type, NaN and infinity: a verdict with a finite score, or ENGINE_FAULT with a cure; nothing else.

    A box, a region or a score that is not finite never gets out.
    """
    contract, sides = case
    outputs = {}
    for name, own in zip(output_names(contract), sides, strict=True):
        shape = data.draw(st.one_of(st.just(own), SHAPES))
        dtype = data.draw(st.sampled_from(["float32", "float64", "int64"]))
        elements = NUMBERS if dtype == "float64" else st.integers(-1, 3).map(float) if dtype == "int64" else NUMBERS
        with np.errstate(over="ignore"):
            values = data.draw(arrays.arrays(np.float64, shape, elements=elements))
            outputs[name] = values.astype(dtype)

    found = said(contract, outputs)
    if isinstance(found, InferenceError):
        assert found.reason is Reason.ENGINE_FAULT
        assert found.hint
        return

    assert math.isfinite(found.score)
    assert all(math.isfinite(side) for thing in found.detections for side in (*thing.box, thing.score))
    assert all(0 <= d.box[0] < d.box[2] <= 33 and 0 <= d.box[1] < d.box[3] <= 20 for d in found.detections)
    assert all(math.isfinite(region.area) and math.isfinite(region.peak) for region in found.regions)
    verdict(found, POINT)
    Decider(POINT).decide(found)
