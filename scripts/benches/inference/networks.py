"""Networks that are measured and not shipped: of a known class, with weights that mean nothing."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 224
CLASSES = 1000
STAGES = ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1))
"""Channels and stride of the eight blocks of a ResNet-18."""


def resnet18(side: int = SIDE) -> bytes:
    """A ResNet-18 with random weights, its normalisation folded in: what a float model for a gateway looks like."""
    net = _Network()
    last = net.convolve("image", 3, 64, size=7, stride=2)
    net.nodes.append(
        helper.make_node("MaxPool", [last], ["pooled"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    )
    last, channels = "pooled", 64
    for width, stride in STAGES:
        inner = net.convolve(last, channels, width, stride=stride)
        outer = net.convolve(inner, width, width, is_linear=True)
        is_same = channels == width and stride == 1
        shortcut = last if is_same else net.convolve(last, channels, width, size=1, stride=stride, is_linear=True)
        last, channels = net.add(outer, shortcut), width
    net.nodes += [
        helper.make_node("GlobalAveragePool", [last], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", net.weight((CLASSES, channels)), net.weight((CLASSES,))], ["out"], transB=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, side, side])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, CLASSES])
    graph = helper.make_graph(net.nodes, "resnet18", [image], [out], net.weights)
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    )


class _Network:
    """Nodes and weights as they come."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(18)

    def weight(self, shape: tuple[int, ...]) -> str:
        """A weight of the size that keeps values where they are."""
        name, fan_in = f"w{len(self.weights)}", int(np.prod(shape[1:])) or 1
        values = self._rng.normal(0.0, np.sqrt(2 / fan_in), shape).astype(np.float32)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def convolve(
        self, source: str, channels: int, width: int, *, size: int = 3, stride: int = 1, is_linear: bool = False
    ) -> str:
        """A convolution, with what makes it more than linear unless that follows later."""
        name, pad = f"conv{len(self.nodes)}", size // 2
        inputs = [source, self.weight((width, channels, size, size)), self.weight((width,))]
        node = helper.make_node("Conv", inputs, [name], name=name, strides=[stride] * 2, pads=[pad] * 4)
        self.nodes.append(node)
        return name if is_linear else self._rectify(name)

    def add(self, one: str, other: str) -> str:
        """The end of a block."""
        name = f"add{len(self.nodes)}"
        self.nodes.append(helper.make_node("Add", [one, other], [name], name=name))
        return self._rectify(name)

    def _rectify(self, source: str) -> str:
        self.nodes.append(helper.make_node("Relu", [source], [f"{source}_r"], name=f"{source}_relu"))
        return f"{source}_r"
