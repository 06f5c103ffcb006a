"""The values of classes come in; the most likely one, and the probability of an anomalous one, go out."""

from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.inference.postprocess.candidates import Outputs
from edge_agent.inference.postprocess.view import View
from edge_agent.judgement import Prediction
from edge_protocol.bundle import ClassOutput

_LIKELY = 0.5


def predict_class(contract: ClassOutput, outputs: Outputs, _view: View | None) -> Prediction:
    """With `sigmoid` classes are independent: the score is that of any anomalous one, and no class need be likely."""
    values = _row(contract, outputs[contract.probabilities])
    anomalous = [contract.classes.index(name) for name in contract.anomalous]
    label = contract.classes[int(values.argmax())]
    if contract.activation == "sigmoid":
        chances = 1 / (1 + np.exp(-values))
        return Prediction(float(1 - np.prod(1 - chances[anomalous])), label=label if chances.max() >= _LIKELY else "")
    if contract.activation == "softmax":
        values = np.exp(values - values.max())
        values /= values.sum()
    return Prediction(float(sum(values[place] for place in anomalous)), label=label)


def _row(contract: ClassOutput, values: Any) -> npt.NDArray[np.float64]:
    """The values in the order of the contract's classes. A ZipMap's dictionary is sorted by its numbers or names."""
    if isinstance(values, list):
        (chances,) = values
        names = contract.classes if set(chances) == set(contract.classes) else sorted(chances)
        values = np.array([chances[name] for name in names])
    row: npt.NDArray[np.float64] = values.reshape(len(contract.classes)).astype(np.float64)
    return row
