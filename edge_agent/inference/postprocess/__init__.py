"""A graph's outputs come in, a prediction goes out, as the manifest's output contract says: one task a file."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from edge_agent.errors import InferenceError
from edge_agent.inference.postprocess.anomaly import predict_anomaly
from edge_agent.inference.postprocess.candidates import Outputs
from edge_agent.inference.postprocess.classes import predict_class
from edge_agent.inference.postprocess.detection import predict_detection
from edge_agent.inference.postprocess.segmentation import predict_segmentation
from edge_agent.inference.postprocess.values import predict_regression, predict_window_anomaly
from edge_agent.inference.postprocess.view import View
from edge_agent.judgement import Prediction
from edge_protocol.bundle import (
    AnomalyOutput,
    ClassOutput,
    DetectionOutput,
    OutputContract,
    RegressionOutput,
    SegmentationOutput,
    WindowAnomalyOutput,
)
from edge_protocol.codes import Reason

__all__ = ["Outputs", "View", "output_names", "predict"]


def predict(contract: OutputContract, outputs: Outputs, view: View | None = None) -> Prediction:
    """The prediction that the outputs state; `view` is needed of pictures, but for their classes.

    Raises:
        InferenceError: ENGINE_FAULT: outputs of another shape, or a score that is not a number.
    """
    try:
        with np.errstate(all="ignore"):  # what overflows is found in the score
            prediction = _PREDICT[type(contract)](contract, outputs, view)
    except (AttributeError, IndexError, KeyError, ValueError, TypeError, cv2.error) as error:
        message = f"the model's outputs are not what the manifest says: {error}"
        raise InferenceError(message, "compare the manifest's output with the graph", Reason.ENGINE_FAULT) from error
    if not np.isfinite(prediction.score):
        message = f"the model's score is {prediction.score}"
        raise InferenceError(message, "see whether the bundle's self-test passes", Reason.ENGINE_FAULT)
    return prediction


def output_names(contract: OutputContract) -> tuple[str, ...]:
    """The outputs that the graph must have, the one that says most first."""
    return tuple(filter(None, _NAMES[type(contract)](contract)))


_PREDICT: dict[type, Callable[[Any, Outputs, Any], Prediction]] = {
    AnomalyOutput: predict_anomaly,
    ClassOutput: predict_class,
    DetectionOutput: predict_detection,
    SegmentationOutput: predict_segmentation,
    WindowAnomalyOutput: predict_window_anomaly,
    RegressionOutput: predict_regression,
}

_NAMES: dict[type, Callable[[Any], tuple[str, ...]]] = {
    AnomalyOutput: lambda contract: (contract.map, contract.score),
    ClassOutput: lambda contract: (contract.probabilities,),
    DetectionOutput: lambda contract: (contract.boxes, contract.scores, contract.labels),
    SegmentationOutput: lambda contract: (contract.masks,),
    WindowAnomalyOutput: lambda contract: (contract.score, contract.parts),
    RegressionOutput: lambda contract: (contract.value,),
}
