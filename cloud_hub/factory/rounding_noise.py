"""A float model and its int8 variant come in; how much noise each node's rounding alone brings to the outputs goes out.

One node at a time is rounded in the float model, its weights, inputs and outputs, with the very scales of the variant.
The shares add up to nearly the whole, so they tell which nodes to leave in float: those that bring most for what they
cost there, which is memory and time in proportion to the values that go in and come out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from cloud_hub.errors import FactoryError
from edge_agent.inference.engine import Engine

Tensors = Sequence[npt.NDArray[Any]]

_THREADS = 2
_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


@dataclass(frozen=True, slots=True)
class Noise:
    """A node, the energy of its rounding's noise over that of the outputs, and how many values it takes and gives."""

    node: str
    share: float
    values: int

    @property
    def worth(self) -> float:
        """How much less noise for each value that is left in float."""
        return self.share / self.values


def by_node(exact: bytes, rounded: bytes, tensor: str, samples: Tensors) -> list[Noise]:
    """The noise of each convolution and multiplication that `rounded` computes in integers, the most worth first.

    Raises:
        FactoryError: how many values such a node takes or gives does not stand in the model.
    """
    source, variant = onnx.load_from_string(exact), _Variant(onnx.load_from_string(rounded))
    wanted, sizes = _outputs(exact, tensor, samples), _sizes(source)
    found = []
    for node in source.graph.node:
        if variant.rounds(node):
            values = _moved(node, sizes)
            outputs = _outputs(_with_one_rounded(source, variant, node), tensor, samples)
            share = float(np.mean([_energy(o, w) for o, w in zip(outputs, wanted, strict=True)]))
            found.append(Noise(node.name, share, values))
    return sorted(found, key=lambda noise: -noise.worth)


def _moved(node: onnx.NodeProto, sizes: dict[str, int]) -> int:
    """How many values go in and come out of a node."""
    ends = (node.input[0], node.output[0])
    unknown = [end for end in ends if end not in sizes]
    if unknown:
        message = f"node {node.name}: how many values there are in {' and in '.join(unknown)} is not known"
        raise FactoryError(message, "fix the model's free dimensions before it is quantized")
    return sum(sizes[end] for end in ends)


def _sizes(model: onnx.ModelProto) -> dict[str, int]:
    """How many values each tensor has of which that is known: either side of a product may be the weights."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    weights = {weight.name: max(prod(weight.dims), 1) for weight in graph.initializer}
    return weights | {
        value.name: max(prod(side.dim_value for side in value.type.tensor_type.shape.dim), 1)
        for value in (*graph.value_info, *graph.input, *graph.output)
        if _is_fixed(value.type.tensor_type)
    }


def _is_fixed(tensor: onnx.TypeProto.Tensor) -> bool:
    return tensor.HasField("shape") and all(side.HasField("dim_value") for side in tensor.shape.dim)


class _Variant:
    """What the int8 model rounds, and with which scales."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.weights = {weight.name: weight for weight in model.graph.initializer}
        self.scales = {node.input[0]: list(node.input[1:]) for node in model.graph.node if node.op_type == _QUANTIZE}
        self._nodes = {node.name: node for node in model.graph.node}
        self._makers = {output: node for node in model.graph.node for output in node.output}

    def rounds(self, node: onnx.NodeProto) -> bool:
        """Whether the weights of `node` are integers here."""
        mine = self._nodes.get(node.name)
        return len(node.input) > 1 and mine is not None and self._maker(mine).op_type == _DEQUANTIZE

    def rounded_weight(self, node: onnx.NodeProto) -> npt.NDArray[np.float32]:
        """What the weights of `node` come to once they were integers."""
        maker = self._maker(self._nodes[node.name])
        values, scale, zero = (numpy_helper.to_array(self.weights[name]) for name in maker.input)
        axis = next((each.i for each in maker.attribute if each.name == "axis"), 1)
        shape = [-1 if place == axis else 1 for place in range(values.ndim)] if scale.ndim else []
        rounded: npt.NDArray[np.float32] = (values.astype(np.float32) - zero.reshape(shape)) * scale.reshape(shape)
        return rounded

    def _maker(self, node: onnx.NodeProto) -> onnx.NodeProto:
        maker: onnx.NodeProto = self._makers.get(node.input[1], onnx.NodeProto())
        return maker


def _with_one_rounded(source: onnx.ModelProto, variant: _Variant, node: onnx.NodeProto) -> bytes:
    model = onnx.ModelProto()
    model.CopyFrom(source)
    for weight in model.graph.initializer:
        if weight.name == node.input[1]:
            weight.CopyFrom(numpy_helper.from_array(variant.rounded_weight(node), weight.name))
    for value in {node.input[0], _end(source, variant, node.output[0])}:
        if value in variant.scales:
            _round_value(model, variant, value)
    return bytes(model.SerializeToString())


def _end(source: onnx.ModelProto, variant: _Variant, value: str) -> str:
    """Where what a node makes is rounded: behind the clip that its scale stands for."""
    while value not in variant.scales:
        readers = [reader for reader in source.graph.node if value in reader.input]
        if not readers:
            break
        value = readers[0].output[0]
    return value


def _round_value(model: onnx.ModelProto, variant: _Variant, value: str) -> None:
    """Put a pair of roundings behind `value`; whoever read it reads what they leave."""
    graph, scales = model.graph, variant.scales[value]
    present = {weight.name for weight in graph.initializer}
    graph.initializer.extend(variant.weights[name] for name in scales if name not in present)
    for reader in graph.node:
        for place, name in enumerate(reader.input):
            if name == value:
                reader.input[place] = f"{value}:rounded"
    pair = (
        helper.make_node(_QUANTIZE, [value, *scales], [f"{value}:integer"]),
        helper.make_node(_DEQUANTIZE, [f"{value}:integer", *scales], [f"{value}:rounded"]),
    )
    made = [place for place, node in enumerate(graph.node) if value in node.output]
    at = made[0] + 1 if made else 0
    for node in reversed(pair):
        graph.node.insert(at, node)


def _outputs(model: bytes, tensor: str, samples: Tensors) -> list[dict[str, npt.NDArray[Any]]]:
    engine = Engine(model, threads=_THREADS)
    return [engine.run({tensor: sample}) for sample in samples]


def _energy(found: dict[str, npt.NDArray[Any]], wanted: dict[str, npt.NDArray[Any]]) -> float:
    shares = []
    for name, values in wanted.items():
        spread = np.square(values - values.mean()).sum()
        shares.append(float(np.square(found[name] - values).sum() / max(spread, 1e-12)))
    return float(np.mean(shares))
