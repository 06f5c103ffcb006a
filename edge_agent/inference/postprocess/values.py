"""A number of a window comes in: how unlike the good ones it is, or what it measures."""

import numpy as np

from edge_agent.inference.postprocess.candidates import Outputs
from edge_agent.inference.postprocess.view import View
from edge_agent.judgement import Prediction
from edge_protocol.bundle import RegressionOutput, WindowAnomalyOutput


def predict_window_anomaly(contract: WindowAnomalyOutput, outputs: Outputs, _view: View | None) -> Prediction:
    """The score as it is, and what each feature adds to it where the graph says so."""
    score = float(outputs[contract.score].reshape(1)[0])
    parts = outputs[contract.parts].reshape(-1).astype(np.float32) if contract.parts else None
    return Prediction(score, parts=parts)


def predict_regression(contract: RegressionOutput, outputs: Outputs, _view: View | None) -> Prediction:
    """The value in its unit; the score grows with what is worse."""
    value = float(outputs[contract.value].reshape(1)[0])
    return Prediction(value if contract.worse == "high" else -value, value=value, unit=contract.unit)
