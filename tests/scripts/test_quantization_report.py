"""What a report says of int8 variants is read off the files as they are shipped."""

import numpy as np
import onnx
import pytest

from cloud_hub.factory.graph import Graph
from cloud_hub.factory.quantize import ARITHMETICS, prepared
from scripts.reports.quantization import nodes_in_float

RNG = np.random.default_rng(3)
TENSORS = [RNG.normal(size=(1, 3, 8, 8)).astype(np.float32) for _ in range(4)]


@pytest.mark.filterwarnings("ignore")  # the library's own; none of them is about us
def test_nodes_that_were_left_in_float_are_named() -> None:
    """Named is what was left in float, and nothing where all weights are integers."""
    graph = Graph("small")
    weights = [RNG.normal(size=(4, i, 3, 3)).astype(np.float32) for i in (3, 4)]
    middle = graph.node("Conv", "image", weights[0], np.zeros(4, np.float32), pads=[1, 1, 1, 1])
    graph.node("Conv", middle, weights[1], np.zeros(4, np.float32), pads=[1, 1, 1, 1], output="out")
    floats = graph.model({"image": [1, 3, 8, 8]}, {"out": [1, 4, 8, 8]})

    with prepared(floats, "image", TENSORS) as quantizer:
        whole, names = quantizer.make(ARITHMETICS[0]), nodes_in_float(onnx.load_from_string(floats))
        partly = quantizer.make(ARITHMETICS[0], names[:1])

    assert len(names) == len(weights)
    assert nodes_in_float(onnx.load_from_string(whole)) == []
    assert nodes_in_float(onnx.load_from_string(partly)) == names[:1]
