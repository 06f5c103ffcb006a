"""A graph that writes hard swish out comes in, the same graph with the operator that means it goes out.

x · clip(x + 3, 0, 6) / 6 (Howard et al., "Searching for MobileNetV3", 2019) takes four passes over a map, and constants
that are added to it force ONNX Runtime out of the layout its convolutions work in. x · HardSigmoid(x) takes two.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import onnx
from onnx import helper, numpy_helper

_SHIFT, _TOP = 3.0, 6.0
_SIXTH_TOLERANCE = 1e-3
"""A sixth that was stored in sixteen bits is off by 2.4e-4 of itself."""

Nodes: TypeAlias = Sequence[onnx.NodeProto]


class _Swish(NamedTuple):
    """The nodes that one hard swish is written with, the value it is of, and the sixth as it is stored."""

    shift: onnx.NodeProto
    clip: onnx.NodeProto
    scale: onnx.NodeProto
    product: onnx.NodeProto
    value: str
    sixth: float

    @property
    def gone(self) -> set[str]:
        """What nothing reads any more."""
        return {self.shift.name, self.clip.name, self.scale.name}

    def nodes(self) -> Nodes:
        """What stands for it. The product keeps its name."""
        gate = f"{self.product.output[0]}:gate"
        return (
            helper.make_node(
                "HardSigmoid",
                [self.value],
                [gate],
                f"{self.product.name}_HardSigmoid",
                alpha=self.sixth,
                beta=self.sixth * _SHIFT,
            ),
            helper.make_node("Mul", [self.value, gate], list(self.product.output), self.product.name),
        )


def fuse(model: bytes) -> bytes:
    """The model with each hard swish in two nodes; one that anything else reads the middle of stays as it is.

    Where a sixth is stored in sixteen bits, as in published weights it may be, the original lets at most 0.99976 of a
    value above 3 through and this all of it; below 3 both are the same.
    """
    whole = onnx.load_from_string(model)
    found = {swish.product.name: swish for swish in map(_Graph(whole.graph).swish, whole.graph.node) if swish}
    gone = set().union(*(swish.gone for swish in found.values()))
    nodes = [
        each
        for node in whole.graph.node
        if node.name not in gone
        for each in (found[node.name].nodes() if node.name in found else (node,))
    ]
    read = {name for node in nodes for name in node.input}
    weights = [weight for weight in whole.graph.initializer if weight.name in read]
    # A copy first: the lists hold parts of what is cleared.
    result = onnx.ModelProto()
    result.CopyFrom(whole)
    del result.graph.node[:]
    del result.graph.initializer[:]
    result.graph.node.extend(nodes)
    result.graph.initializer.extend(weights)
    onnx.checker.check_model(result, full_check=True)
    return bytes(result.SerializeToString())


class _Graph:
    """Who makes and who reads a value, and which constants are one number."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._makers = {output: node for node in graph.node for output in node.output}
        self._read: dict[str, int] = {output.name: 1 for output in graph.output}
        for node in graph.node:
            for name in node.input:
                self._read[name] = self._read.get(name, 0) + 1
        values = ((weight.name, numpy_helper.to_array(weight)) for weight in graph.initializer)
        self._numbers = {name: float(value.ravel()[0]) for name, value in values if value.size == 1}

    def swish(self, product: onnx.NodeProto) -> _Swish | None:
        """The hard swish that ends in `product`."""
        if product.op_type != "Mul":
            return None
        makers = {self._makers[name].op_type: self._makers[name] for name in product.input if name in self._makers}
        clip, scale = makers.get("Clip"), makers.get("Mul")
        if clip is None or scale is None:
            return None
        shift = self._makers.get(clip.input[0])
        if shift is None or shift.op_type != "Add":
            return None
        (shift_of, by), (scale_of, sixth) = self._with_number(shift), self._with_number(scale)
        limits = [self._numbers.get(name) for name in clip.input[1:]]
        is_one = shift_of == scale_of and by == _SHIFT and limits == [0.0, _TOP]
        is_sixth = bool(np.isclose(sixth * _TOP, 1, rtol=_SIXTH_TOLERANCE))
        is_private = all(self._read[node.output[0]] == 1 for node in (shift, clip, scale))
        if not (is_one and is_sixth and is_private and shift_of):
            return None
        return _Swish(shift, clip, scale, product, shift_of, sixth)

    def _with_number(self, node: onnx.NodeProto) -> tuple[str, float]:
        """The value and the number that a node takes; no name where it takes two of a kind."""
        numbers = [self._numbers[name] for name in node.input if name in self._numbers]
        values = [name for name in node.input if name not in self._numbers]
        return (values[0], numbers[0]) if len(numbers) == len(values) == 1 else ("", 0.0)
