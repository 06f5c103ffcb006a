"""ONNX graphs as they are built: nodes and weights are added by name, a checked model comes out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 9
"""Old enough for every runtime that knows opset 17."""


class Graph:
    """A graph under construction. `prefix` is set while a part is built whose nodes are later told apart by it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.prefix = ""
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
        output = output or f"{self.prefix}{kind.lower()}_{number}"
        outputs = [output, *more_outputs]
        self._nodes.append(helper.make_node(kind, names, outputs, f"{self.prefix}{number}_{kind}", **attributes))
        return output

    def model(self, inputs: dict[str, Sequence[int]], outputs: dict[str, Sequence[int]]) -> onnx.ModelProto:
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
        return model

    def _input(self, value: str | npt.NDArray[Any], place: str) -> str:
        if isinstance(value, str):
            return value
        name = f"{self.prefix}weight_{place}"
        self._weights[name] = np.ascontiguousarray(value)
        return name
