"""A network of TensorFlow.js comes in, the same computation as ONNX goes out, channels first inside.

Weights are turned once, here; only an output that is asked for by name is turned back to channels last. A kind of
operation that is not in the table is refused by name.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cloud_hub.errors import FactoryError
from cloud_hub.factory.graph import Graph
from cloud_hub.factory.tfjs import Network, Node

Shape: TypeAlias = tuple[int, int, int, int]
"""Of a map: 1, channels, height, width."""

Floats: TypeAlias = npt.NDArray[np.float32]

_IMAGE_RANK = 4
_FIRST_TO_LAST = [0, 2, 3, 1]
_TO_FIRST = {0: 0, 1: 2, 2: 3, 3: 1, -1: 1}
"""An axis of a channels-last map → the same axis with the channels first."""


def to_onnx(network: Network, tensor: str, outputs: Mapping[str, str], name: str) -> bytes:
    """The network from its one input, called `tensor` and with the channels first, to `outputs`: theirs → ours.

    Raises:
        FactoryError: it has an operation, or a way of using one, that is not translated here.
    """
    builder = _Builder(network, Graph(name), tensor)
    for node in network.needed(list(outputs)):
        try:
            builder.add(node)
        except (KeyError, ValueError, IndexError) as error:
            message = f"{node.name} ({node.kind}) cannot be translated: {error}"
            raise FactoryError(message, "add it to cloud_hub/factory/tfjs_to_onnx.py") from error
    return builder.finish(outputs)


class _Builder:
    """Adds node by node; knows of each value what it is called and its shape with the channels first."""

    def __init__(self, network: Network, graph: Graph, tensor: str) -> None:
        self._network = network
        self._graph = graph
        self._tensor = tensor
        self._values: dict[str, str] = {}
        self._shapes: dict[str, Shape] = {}
        ((_, (one, height, width, channels)),) = network.inputs.items()
        self._input: Shape = (one, channels, height, width)

    def add(self, node: Node) -> None:
        """Translate one node, after those it takes."""
        self._values[node.name], self._shapes[node.name] = _KINDS[node.kind](self, node)

    def finish(self, outputs: Mapping[str, str]) -> bytes:
        """The model with its outputs as they were, channels last."""
        sizes = {}
        for theirs, ours in outputs.items():
            self._graph.node("Transpose", self._values[theirs], output=ours, perm=_FIRST_TO_LAST)
            sizes[ours] = [self._shapes[theirs][axis] for axis in _FIRST_TO_LAST]
        return self._graph.model({self._tensor: self._input}, sizes)

    def placeholder(self, _node: Node) -> tuple[str, Shape]:
        """The one input."""
        return self._tensor, self._input

    def same(self, node: Node) -> tuple[str, Shape]:
        """What changes nothing."""
        return self._values[node.inputs[0]], self._shapes[node.inputs[0]]

    def convolve(self, node: Node) -> tuple[str, Shape]:
        """A convolution with all that is fused into it: a bias and an activation."""
        kernel = self._network.weights[node.inputs[1]]
        is_depthwise = "Depthwise" in node.kind
        if is_depthwise:
            height, width, channels, multiplier = kernel.shape
            weights = kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
        else:
            height, width, channels, _ = kernel.shape
            weights = kernel.transpose(3, 2, 0, 1)
        before = self._shapes[node.inputs[0]]
        _, *strides, _ = node.integers("strides")
        _, *dilations, _ = node.integers("dilations")
        rows = _pad(before[2], height, strides[0], dilations[0], node.text("padding"))
        columns = _pad(before[3], width, strides[1], dilations[1], node.text("padding"))
        fused = node.texts("fused_ops") if "fused_ops" in node.attributes else []
        bias = [self._network.weights[node.inputs[2]]] if "BiasAdd" in fused else []
        value = self._graph.node(
            "Conv",
            self._values[node.inputs[0]],
            weights,
            *bias,
            kernel_shape=[height, width],
            strides=strides,
            dilations=dilations,
            pads=[rows[0], columns[0], rows[1], columns[1]],
            group=channels if is_depthwise else 1,
        )
        for kind in fused:
            value = _ACTIVATIONS[kind](self._graph, value)
        return value, (before[0], weights.shape[0], rows[2], columns[2])

    def combine(self, node: Node) -> tuple[str, Shape]:
        """A sum or a product, with a constant or of two maps."""
        names, shapes = [], []
        for name in node.inputs:
            constant = self._network.weights.get(name)
            names.append(self._values[name] if constant is None else _constant(constant))
            shapes.append(self._shapes[name] if constant is None else _constant(constant).shape)
        size = np.broadcast_shapes(*shapes)
        return self._graph.node(node.kind.removesuffix("V2"), *names), (size[0], size[1], size[2], size[3])

    def activate(self, node: Node) -> tuple[str, Shape]:
        """What is done to each value alone."""
        value, shape = self.same(node)
        return _ACTIVATIONS[node.kind](self._graph, value), shape

    def average(self, node: Node) -> tuple[str, Shape]:
        """The mean over height and width, which stay as sides of one."""
        axes = sorted(_TO_FIRST[int(axis)] for axis in self._network.weights[node.inputs[1]])
        if axes != [2, 3] or not node.is_set("keep_dims"):
            message = "only the mean over height and width is translated, with both kept"
            raise ValueError(message)
        value, shape = self.same(node)
        return self._graph.node("GlobalAveragePool", value), (*shape[:2], 1, 1)

    def concatenate(self, node: Node) -> tuple[str, Shape]:
        """Maps side by side along their channels."""
        *parts, axis = node.inputs
        if _TO_FIRST[int(self._network.weights[axis])] != 1:
            message = "only channels are joined"
            raise ValueError(message)
        shapes = [self._shapes[part] for part in parts]
        value = self._graph.node("Concat", *(self._values[part] for part in parts), axis=1)
        return value, (shapes[0][0], sum(shape[1] for shape in shapes), *shapes[0][2:])

    def resize(self, node: Node) -> tuple[str, Shape]:
        """Bilinear, with the two conventions that TensorFlow has for where a pixel lies."""
        height, width = (int(side) for side in self._network.weights[node.inputs[1]])
        value, shape = self.same(node)
        mode = "half_pixel" if node.is_set("half_pixel_centers") else "asymmetric"
        if node.is_set("align_corners"):
            mode = "align_corners"
        scales = np.array([1, 1, height / shape[2], width / shape[3]], np.float32)
        resized = self._graph.node("Resize", value, "", scales, mode="linear", coordinate_transformation_mode=mode)
        return resized, (*shape[:2], height, width)


def _pad(side: int, size: int, stride: int, dilation: int, padding: str) -> tuple[int, int, int]:
    """Padding before and after, and the side that comes out. The odd pixel of SAME goes after."""
    reach = (size - 1) * dilation + 1
    if padding == "VALID":
        return 0, 0, (side - reach) // stride + 1
    if padding != "SAME":
        message = f"padding {padding}"
        raise ValueError(message)
    result = -(-side // stride)
    total = max((result - 1) * stride + reach - side, 0)
    return total // 2, total - total // 2, result


def _constant(values: Floats) -> Floats:
    """A constant as it must be shaped to meet a map with the channels first."""
    shape = (1,) * (_IMAGE_RANK - values.ndim) + values.shape
    return values.reshape(shape).transpose(0, 3, 1, 2)


def _clip(graph: Graph, value: str) -> str:
    return graph.node("Clip", value, np.array(0, np.float32), np.array(6, np.float32))


_ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "BiasAdd": lambda _graph, value: value,  # is part of the convolution
    "Relu": lambda graph, value: graph.node("Relu", value),
    "Relu6": _clip,
    "Sigmoid": lambda graph, value: graph.node("Sigmoid", value),
}

_KINDS: dict[str, Callable[[_Builder, Node], tuple[str, Shape]]] = {
    "Placeholder": _Builder.placeholder,
    "Identity": _Builder.same,
    **dict.fromkeys(
        ("Conv2D", "_FusedConv2D", "DepthwiseConv2dNative", "FusedDepthwiseConv2dNative"), _Builder.convolve
    ),
    **dict.fromkeys(("Add", "AddV2", "Mul", "Sub"), _Builder.combine),
    **dict.fromkeys(("Relu", "Relu6", "Sigmoid"), _Builder.activate),
    "Mean": _Builder.average,
    "ConcatV2": _Builder.concatenate,
    "ResizeBilinear": _Builder.resize,
}
