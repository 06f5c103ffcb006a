import numpy as np
import pytest

from edge_agent.errors import InferenceError
from edge_agent.inference.decision import verdict
from edge_agent.inference.postprocess import predict
from edge_agent.judgement import Prediction
from edge_protocol.bundle import AnomalyOutput, ClassOutput, OperatingPoint
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


@pytest.mark.parametrize(
    ("contract", "outputs"),
    [
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
