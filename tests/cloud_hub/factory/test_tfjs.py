import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_hub.errors import FactoryError
from cloud_hub.factory.tfjs import read_network
from cloud_hub.factory.tfjs_to_onnx import to_onnx
from edge_agent.inference.engine import Engine

Array = npt.NDArray[Any]

SIDE, CHANNELS = 9, 4


class Model:
    """A TensorFlow.js model under construction, written as its two files."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.weights: list[tuple[str, Array, str]] = []
        shape = {"shape": {"dim": [{"size": str(size)} for size in (1, SIDE, SIDE, CHANNELS)]}}
        self.node("x", "Placeholder", [], shape=shape)

    def node(self, name: str, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        self.nodes.append({"name": name, "op": op, "input": list(inputs), "attr": attributes})
        return name

    def constant(self, name: str, values: npt.ArrayLike, stored: str = "float32") -> str:
        self.nodes.append({"name": name, "op": "Const", "attr": {}})
        self.weights.append((name, np.asarray(values), stored))
        return name

    def write(self, folder: Path) -> tuple[Path, Path]:
        listed = []
        content = b""
        for name, values, stored in self.weights:
            entry: dict[str, Any] = {"name": name, "shape": list(values.shape), "dtype": values.dtype.name}
            if stored != values.dtype.name and values.dtype != np.int32:
                entry["quantization"] = {"dtype": stored}
            listed.append(entry)
            content += values.astype(stored if "quantization" in entry else values.dtype).tobytes()
        graph, weights = folder / "m.json", folder / "m.bin"
        manifest = [{"paths": ["m.bin"], "weights": listed}]
        graph.write_text(json.dumps({"modelTopology": {"node": self.nodes}, "weightsManifest": manifest}))
        weights.write_bytes(content)
        return graph, weights


def words(*values: str) -> dict[str, Any]:
    """An attribute that is a list of words."""
    return {"list": {"s": [base64.b64encode(value.encode()).decode() for value in values]}}


def window(strides: int, dilations: int, padding: str) -> dict[str, Any]:
    """The attributes of a convolution."""
    return {
        "strides": {"list": {"i": ["1", str(strides), str(strides), "1"]}},
        "dilations": {"list": {"i": ["1", str(dilations), str(dilations), "1"]}},
        "padding": {"s": base64.b64encode(padding.encode()).decode()},
    }


def run(model: Model, output: str, folder: Path, picture: Array) -> Array:
    """What the translated graph makes of a channels-last picture."""
    network = read_network(*model.write(folder))
    engine = Engine(to_onnx(network, "image", {output: "out"}, "test"))
    return engine.run({"image": np.ascontiguousarray(picture.transpose(0, 3, 1, 2))})["out"]


def convolved(x: Array, kernel: Array, stride: int, dilation: int, padding: str, *, is_depthwise: bool) -> Array:
    """A convolution as TensorFlow's documentation words it, written as sums, channels last."""
    height, width, inner, outer = kernel.shape
    reach = ((height - 1) * dilation + 1, (width - 1) * dilation + 1)
    if padding == "SAME":
        sides = [-(-x.shape[axis + 1] // stride) for axis in (0, 1)]
        total = [max((sides[a] - 1) * stride + reach[a] - x.shape[a + 1], 0) for a in (0, 1)]
        x = np.pad(x, ((0, 0), *((each // 2, each - each // 2) for each in total), (0, 0)))
    else:
        sides = [(x.shape[axis + 1] - reach[axis]) // stride + 1 for axis in (0, 1)]
    out = np.zeros((1, *sides, inner * outer if is_depthwise else outer))
    for r in range(sides[0]):
        for c in range(sides[1]):
            rows = slice(r * stride, r * stride + reach[0], dilation)
            columns = slice(c * stride, c * stride + reach[1], dilation)
            patch = x[0, rows, columns]
            if is_depthwise:
                out[0, r, c] = np.einsum("hwi,hwio->io", patch, kernel).reshape(-1)
            else:
                out[0, r, c] = np.einsum("hwi,hwio->o", patch, kernel)
    return out


@settings(max_examples=30)
@given(
    size=st.sampled_from([1, 2, 3, 5]),
    stride=st.sampled_from([1, 2, 3]),
    dilation=st.sampled_from([1, 2]),
    padding=st.sampled_from(["SAME", "VALID"]),
    is_depthwise=st.booleans(),
    is_fused=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_convolution_is_the_sum_that_it_is(
    tmp_path_factory: pytest.TempPathFactory,
    *,
    size: int,
    stride: int,
    dilation: int,
    padding: str,
    is_depthwise: bool,
    is_fused: bool,
    seed: int,
) -> None:
    """Every stride, dilation and padding, with and without what is fused into it, as the formula says."""
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(size, size, CHANNELS, 2)).astype(np.float32)
    bias = rng.normal(size=2 * CHANNELS if is_depthwise else 2).astype(np.float32)
    picture = rng.normal(size=(1, SIDE, SIDE, CHANNELS)).astype(np.float32)
    model = Model()
    inputs = ["x", model.constant("k", kernel)]
    attributes = window(stride, dilation, padding)
    if is_fused:
        inputs.append(model.constant("b", bias))
        attributes["fused_ops"] = words("BiasAdd", "Relu6")
    plain, fused = (
        ("DepthwiseConv2dNative", "FusedDepthwiseConv2dNative") if is_depthwise else ("Conv2D", "_FusedConv2D")
    )
    model.node("y", fused if is_fused else plain, inputs, **attributes)

    found = run(model, "y", tmp_path_factory.mktemp("m"), picture)

    wanted = convolved(picture.astype(float), kernel, stride, dilation, padding, is_depthwise=is_depthwise)
    if is_fused:
        wanted = np.clip(wanted + bias, 0, 6)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("is_half", [True, False])
def test_a_picture_twice_as_large_is_between_its_neighbours(tmp_path: Path, *, is_half: bool) -> None:
    """Bilinear in both of TensorFlow's conventions: a pixel at its corner, or at its centre."""
    picture = np.random.default_rng(1).normal(size=(1, SIDE, SIDE, CHANNELS)).astype(np.float32)
    model = Model()
    size = model.constant("size", np.array([2 * SIDE, 2 * SIDE], np.int32))
    model.node("y", "ResizeBilinear", ["x", size], half_pixel_centers={"b": is_half}, align_corners={"b": False})

    found = run(model, "y", tmp_path, picture)

    at = (np.arange(2 * SIDE) + 0.5) / 2 - 0.5 if is_half else np.arange(2 * SIDE) / 2
    at = np.clip(at, 0, SIDE - 1)
    low = np.minimum(at.astype(int), SIDE - 2)
    share = at - low
    rows = picture[:, low] * (1 - share)[None, :, None, None] + picture[:, low + 1] * share[None, :, None, None]
    wanted = rows[:, :, low] * (1 - share)[:, None] + rows[:, :, low + 1] * share[:, None]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_what_is_between_convolutions_keeps_its_channels(tmp_path: Path) -> None:
    """Sums and products with numbers, rows of channels and other maps, means and joints come out channels last."""
    rng = np.random.default_rng(2)
    picture = rng.normal(size=(1, SIDE, SIDE, CHANNELS)).astype(np.float32)
    scale = rng.normal(size=CHANNELS).astype(np.float32)
    model = Model()
    shifted = model.node("shifted", "Add", ["x", model.constant("three", np.float32(3))])
    scaled = model.node("scaled", "Mul", [model.constant("scale", scale), shifted])
    axes = model.constant("axes", np.array([1, 2], np.int32))
    mean = model.node("mean", "Mean", [model.node("gate", "Sigmoid", [scaled]), axes], keep_dims={"b": True})
    weighed = model.node("weighed", "Mul", [mean, scaled])
    model.node("y", "ConcatV2", [weighed, "x", model.constant("axis", np.int32(3))])

    found = run(model, "y", tmp_path, picture)

    wanted = (picture + 3) * scale
    gate = (1 / (1 + np.exp(-wanted))).mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found, np.concatenate([wanted * gate, picture], axis=3), atol=1e-4)


def test_weights_stored_as_halves_are_what_they_were_rounded_to(tmp_path: Path) -> None:
    """float16 in the file is float32 in the graph, the same values."""
    values = np.random.default_rng(3).normal(size=(1, 1, CHANNELS, 2)).astype(np.float32)
    model = Model()
    model.node("y", "Conv2D", ["x", model.constant("k", values, "float16")], **window(1, 1, "SAME"))

    network = read_network(*model.write(tmp_path))

    assert network.weights["k"].dtype == np.float32
    assert (network.weights["k"] == values.astype(np.float16)).all()


def test_an_operation_that_is_not_translated_is_named(tmp_path: Path) -> None:
    """Neither left out nor guessed."""
    model = Model()
    model.node("odd", "LRN", ["x"])
    network = read_network(*model.write(tmp_path))

    with pytest.raises(FactoryError, match=r"odd \(LRN\)"):
        to_onnx(network, "image", {"odd": "out"}, "test")


@pytest.mark.parametrize("cut", [1, -1])
def test_weights_that_do_not_belong_to_the_graph_are_refused(tmp_path: Path, cut: int) -> None:
    """A byte too few or too many in the binary file."""
    model = Model()
    model.node("y", "Mul", ["x", model.constant("k", np.ones(CHANNELS, np.float32))])
    graph, weights = model.write(tmp_path)
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] if cut < 0 else content + b"\0")

    with pytest.raises(FactoryError, match=r"m\.bin"):
        read_network(graph, weights)
