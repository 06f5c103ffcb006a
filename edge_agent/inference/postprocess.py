"""A graph's outputs come in, a prediction and then a verdict go out, as the manifest's output contract says."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.errors import InferenceError
from edge_agent.judgement import Prediction
from edge_protocol.bundle import AnomalyOutput, ClassOutput, OperatingPoint, OutputContract
from edge_protocol.codes import Reason, Verdict

Outputs = Mapping[str, npt.NDArray[Any]]


def predict(contract: OutputContract, outputs: Outputs) -> Prediction:
    """The prediction that the outputs state.

    Raises:
        InferenceError: ENGINE_FAULT: outputs of another shape, or a score that is not a number.
    """
    try:
        prediction = _PREDICT[type(contract)](contract, outputs)
    except (IndexError, ValueError, TypeError) as error:
        message = "the model's outputs have another shape than the manifest says"
        raise InferenceError(message, "make the bundle again", Reason.ENGINE_FAULT) from error
    if not np.isfinite(prediction.score):
        message = f"the model's score is {prediction.score}"
        raise InferenceError(message, "see whether the bundle's self-test passes", Reason.ENGINE_FAULT)
    return prediction


def verdict(prediction: Prediction, point: OperatingPoint) -> tuple[Verdict, Reason]:
    """OK below `accept`, NG from `reject` on, REVIEW between."""
    if prediction.score < point.accept:
        return Verdict.OK, Reason.NONE
    if prediction.score >= point.reject:
        return Verdict.NG, Reason.SCORE_REJECT
    return Verdict.REVIEW, Reason.SCORE_REVIEW


def output_names(contract: OutputContract) -> tuple[str, ...]:
    """The outputs that the graph must have."""
    return tuple(filter(None, _NAMES[type(contract)](contract)))


def _predict_anomaly(contract: AnomalyOutput, outputs: Outputs) -> Prediction:
    heatmap = outputs[contract.map].reshape(outputs[contract.map].shape[-2:])
    return Prediction(float(outputs[contract.score].reshape(1)[0]), heatmap)


def _predict_class(contract: ClassOutput, outputs: Outputs) -> Prediction:
    probabilities = outputs[contract.probabilities].reshape(len(contract.classes))
    score = float(sum(probabilities[contract.classes.index(name)] for name in contract.anomalous))
    return Prediction(score, label=contract.classes[int(probabilities.argmax())])


_PREDICT: dict[type, Callable[[Any, Outputs], Prediction]] = {
    AnomalyOutput: _predict_anomaly,
    ClassOutput: _predict_class,
}

_NAMES: dict[type, Callable[[Any], tuple[str, ...]]] = {
    AnomalyOutput: lambda contract: (contract.map, contract.score),
    ClassOutput: lambda contract: (contract.probabilities,),
}
