import numpy as np
import pytest

from edge_agent.errors import InferenceError
from edge_agent.inference.decision import verdict
from edge_agent.inference.postprocess import predict
from edge_agent.judgement import Prediction
from edge_protocol.bundle import AnomalyOutput, ClassOutput, OperatingPoint, RegressionOutput, WindowAnomalyOutput
from edge_protocol.codes import Reason, Verdict

CLASSES = ClassOutput(classes=("good", "worn", "fault"), anomalous=("fault",))
POINT = OperatingPoint(accept=0.4, reject=0.6)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (0.0, (Verdict.OK, Reason.NONE)),
        (0.3999, (Verdict.OK, Reason.NONE)),
        (0.4, (Verdict.REVIEW, Reason.SCORE_REVIEW)),
        (0.5999, (Verdict.REVIEW, Reason.SCORE_REVIEW)),
        (0.6, (Verdict.NG, Reason.SCORE_REJECT)),
        (9.0, (Verdict.NG, Reason.SCORE_REJECT)),
    ],
)
def test_a_score_becomes_a_verdict(score: float, expected: tuple[Verdict, Reason]) -> None:
    """Below accept OK, from reject on NG, between REVIEW."""
    assert verdict(Prediction(score), POINT) == expected


def test_equal_thresholds_leave_no_review() -> None:
    """With one threshold a part is OK or NG."""
    point = OperatingPoint(accept=0.5, reject=0.5)

    assert verdict(Prediction(0.5), point)[0] is Verdict.NG
    assert verdict(Prediction(0.49), point)[0] is Verdict.OK


def test_an_anomaly_is_score_and_map() -> None:
    """The score is the graph's, the heatmap its map without the batch."""
    heat = np.arange(6, dtype=np.float32).reshape(1, 2, 3)

    prediction = predict(AnomalyOutput(), {"map": heat, "score": np.array([2.5], np.float32)})

    assert prediction.score == 2.5
    assert np.array_equal(prediction.heatmap, heat[0])


def test_a_class_scores_its_anomalous_probability() -> None:
    """The label is the most likely class, the score the probability of the anomalous one."""
    prediction = predict(CLASSES, {"probabilities": np.array([[0.2, 0.5, 0.3]], np.float32)})

    assert prediction.label == "worn"
    assert prediction.score == pytest.approx(0.3)


def test_a_softmax_that_the_graph_leaves_out_is_done() -> None:
    """Logits become probabilities, large ones too; the score is the share of the anomalous."""
    contract = ClassOutput(classes=("good", "worn", "fault"), anomalous=("worn", "fault"), activation="softmax")
    logits = np.array([[1000.0, 1000.0 + np.log(2), 1000.0]], np.float32)

    prediction = predict(contract, {"probabilities": logits})

    assert prediction.label == "worn"
    assert prediction.score == pytest.approx(0.75, abs=1e-4)


def test_with_sigmoid_classes_are_independent() -> None:
    """The score is the chance of any anomalous one; a class that is not likely is no label."""
    contract = ClassOutput(classes=("scratch", "dent"), anomalous=("scratch", "dent"), activation="sigmoid")

    both = predict(contract, {"probabilities": np.array([[0.0, np.log(3)]], np.float32)})
    none = predict(contract, {"probabilities": np.array([[-1e9, -2.0]], np.float32)})

    assert (both.label, both.score) == ("dent", pytest.approx(1 - 0.5 * 0.25))
    assert (none.label, none.score) == ("", pytest.approx(1 / (1 + np.exp(2))))


def test_a_zip_map_is_read_by_its_names() -> None:
    """Probabilities by class, in whatever order, come to the classes that the contract names."""
    by_name = {"fault": 0.7, "good": 0.2, "worn": 0.1}
    by_number = {2: 0.7, 0: 0.2, 1: 0.1}

    for chances in (by_name, by_number):
        prediction = predict(CLASSES, {"probabilities": [chances]})
        assert (prediction.label, prediction.score) == ("fault", 0.7)


@pytest.mark.parametrize(("worse", "score"), [("high", 12.5), ("low", -12.5)])
def test_a_value_scores_as_it_is_worse(worse: str, score: float) -> None:
    """Of a temperature more is worse, of hours that are left less."""
    prediction = predict(RegressionOutput(unit="h", worse=worse), {"value": np.array([[12.5]])})

    assert (prediction.value, prediction.unit, prediction.score) == (12.5, "h", score)


def test_a_window_anomaly_has_a_score_and_parts() -> None:
    """The score is the graph's, of any rank that holds one value; parts are there where the contract names them."""
    outputs = {"score": np.array(2.5), "parts": np.array([[1.0, 1.5]])}

    assert predict(WindowAnomalyOutput(), outputs).parts is None
    found = predict(WindowAnomalyOutput(parts="parts"), outputs)
    assert found.score == 2.5
    assert found.parts is not None
    assert found.parts.tolist() == [1.0, 1.5]


@pytest.mark.parametrize(
    ("contract", "outputs"),
    [
        (RegressionOutput(), {"value": np.array([np.nan])}),
        (RegressionOutput(), {"value": np.zeros(2)}),
        (WindowAnomalyOutput(), {"score": np.zeros(3)}),
        (CLASSES, {"probabilities": [{0: 0.5, 1: 0.5}]}),
        (
            ClassOutput(classes=("a", "b"), anomalous=("b",), activation="softmax"),
            {"probabilities": np.full((1, 2), np.inf)},
        ),
        (AnomalyOutput(), {"map": np.zeros((1, 2, 2), np.float32), "score": np.array([np.nan], np.float32)}),
        (AnomalyOutput(), {"map": np.zeros((1, 2, 2), np.float32), "score": np.array([np.inf], np.float32)}),
        (AnomalyOutput(), {"map": np.zeros((1, 2, 2), np.float32), "score": np.zeros(2, np.float32)}),
        (AnomalyOutput(), {"map": np.zeros((3, 2, 2), np.float32), "score": np.zeros(1, np.float32)}),
        (CLASSES, {"probabilities": np.zeros((1, 2), np.float32)}),
        (CLASSES, {"probabilities": np.full((1, 3), np.nan, np.float32)}),
    ],
)
def test_outputs_that_are_no_answer_are_an_engine_fault(contract: object, outputs: dict[str, np.ndarray]) -> None:
    """A score that is not a number, or outputs of another shape, never become a verdict."""
    with pytest.raises(InferenceError) as caught:
        predict(contract, outputs)

    assert caught.value.reason is Reason.ENGINE_FAULT
