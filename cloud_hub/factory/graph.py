"""ONNX graphs as they are built: nodes and weights are added by name, a checked model comes out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

OPSET = 17
IR_VERSION = 9
"""Old enough for every runtime that knows opset 17."""


class Graph:
    """A graph under construction. `prefix` begins the names of its nodes and values, so that it can join another."""

    def __init__(self, name: str, prefix: str = "") -> None:
        self._name = name
        self._prefix = prefix
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, npt.NDArray[Any]] = {}

    def node(
        self,
        kind: str,
        *inputs: str | npt.NDArray[Any],
        output: str = "",
        more_outputs: Sequence[str] = (),
        **attributes: Any,
    ) -> str:
        """Add a node; arrays among its inputs become weights. The name of its first output."""
        number = len(self._nodes)
        names = [self._input(value, f"{number}_{place}") for place, value in enumerate(inputs)]
        output = output or f"{self._prefix}{kind.lower()}_{number}"
        outputs = [output, *more_outputs]
        self._nodes.append(helper.make_node(kind, names, outputs, f"{self._prefix}{number}_{kind}", **attributes))
        return output

    def model(self, inputs: Mapping[str, Sequence[int]], outputs: Mapping[str, Sequence[int]]) -> bytes:
        """The finished model, all floats, checked."""
        graph = helper.make_graph(
            self._nodes,
            self._name,
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
            [numpy_helper.from_array(value, name) for name, value in self._weights.items()],
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="lineside")
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())

    def _input(self, value: str | npt.NDArray[Any], place: str) -> str:
        if isinstance(value, str):
            return value
        name = f"{self._prefix}weight_{place}"
        self._weights[name] = np.ascontiguousarray(value)
        return name


def join(first: bytes, second: bytes) -> bytes:
    """One model of two: the outputs of the first are inputs of the same names of the second."""
    one, two = onnx.load_from_string(first), onnx.load_from_string(second)
    # The quantizer states a newer version than its graph needs; the second speaks the older one.
    one.ir_version = two.ir_version = IR_VERSION
    values = [(output.name, output.name) for output in one.graph.output]
    model = compose.merge_models(one, two, io_map=values, producer_name="lineside")
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
