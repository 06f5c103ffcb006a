"""Two whole bundles that take milliseconds to make: real ONNX, real manifests, results one can work out by hand."""

import hashlib
import io
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_protocol import bundle
from edge_protocol.bundle import (
    AnomalyOutput,
    ClassOutput,
    File,
    ImageInput,
    Manifest,
    OperatingPoint,
    Variant,
    WindowInput,
)

SIDE = 32
LENGTH = 64
BANDS = 16
FP32 = (Variant(name="fp32", file="fp32.onnx"),)


def image_graph(side: int = SIDE) -> bytes:
    """`map`: the distance of each 8 × 8 tile from mid-grey, in grey levels / 255; `score`: the largest of them."""
    nodes = [
        helper.make_node("Conv", ["image", "mean"], ["grey"], kernel_shape=[1, 1]),
        helper.make_node("Sub", ["grey", "middle"], ["centred"]),
        helper.make_node("Abs", ["centred"], ["distance"]),
        helper.make_node("AveragePool", ["distance"], ["tiles"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Squeeze", ["tiles", "axis"], ["map"]),
        helper.make_node("ReduceMax", ["map"], ["peak"], keepdims=0),
        helper.make_node("Reshape", ["peak", "one"], ["score"]),
    ]
    weights = {
        "mean": np.full((1, 3, 1, 1), 1 / 3, np.float32),
        "middle": np.array(0.5, np.float32),
        "axis": np.array([1], np.int64),
        "one": np.array([1], np.int64),
    }
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, side, side])]
    outputs = [
        helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, side // 8, side // 8]),
        helper.make_tensor_value_info("score", TensorProto.FLOAT, [1]),
    ]
    return _serialise(nodes, weights, inputs, outputs)


def window_graph(bands: int = BANDS) -> bytes:
    """`probabilities`: [1 - p, p], where p grows with the power in the upper half of the bands."""
    slope = np.concatenate([-np.ones(bands // 2), np.ones(bands - bands // 2)]).astype(np.float32) / bands
    nodes = [
        helper.make_node("MatMul", ["features", "slope"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["p"]),
        helper.make_node("Sub", ["unit", "p"], ["q"]),
        helper.make_node("Concat", ["q", "p"], ["probabilities"], axis=1),
    ]
    weights = {"slope": slope.reshape(bands, 1), "unit": np.ones((1, 1), np.float32)}
    inputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, bands])]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 2])]
    return _serialise(nodes, weights, inputs, outputs)


def image_manifest(**changes: object) -> Manifest:
    """The manifest of `image_graph`, its files still to be listed."""
    manifest = Manifest(
        schema=1,
        name="small-image",
        version="1.0.0",
        task="image-anomaly",
        input=ImageInput(tensor="image", width=SIDE, height=SIDE, std=(255.0, 255.0, 255.0)),
        output=AnomalyOutput(),
        operating_point=OperatingPoint(accept=0.2, reject=0.4),
        variants=FP32,
        files={},
    )
    return msgspec.structs.replace(manifest, **changes)


def window_manifest(**changes: object) -> Manifest:
    """The manifest of `window_graph`, its files still to be listed."""
    manifest = Manifest(
        schema=1,
        name="small-window",
        version="1.0.0",
        task="window-classification",
        input=WindowInput(tensor="features", length=LENGTH, rate_hz=100.0, bands=BANDS),
        output=ClassOutput(classes=("good", "fault"), anomalous=("fault",)),
        operating_point=OperatingPoint(accept=0.4, reject=0.6),
        variants=FP32,
        files={},
    )
    return msgspec.structs.replace(manifest, **changes)


def write_bundle(folder: Path, manifest: Manifest, files: dict[str, bytes]) -> Path:
    """Write `files` and the manifest that names them; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    listed = {name: File(hashlib.sha256(content).hexdigest(), len(content)) for name, content in files.items()}
    (folder / bundle.MANIFEST).write_bytes(bundle.canonical(msgspec.structs.replace(manifest, files=listed)))
    return folder


def write_image_bundle(folder: Path, **changes: object) -> Path:
    """The small image bundle, with `changes` to its manifest."""
    return write_bundle(folder, image_manifest(**changes), {"fp32.onnx": image_graph()})


def write_window_bundle(folder: Path, **changes: object) -> Path:
    """The small window bundle, with `changes` to its manifest."""
    return write_bundle(folder, window_manifest(**changes), {"fp32.onnx": window_graph()})


def png(picture: np.ndarray) -> bytes:
    """The picture as PNG."""
    return cv2.imencode(".png", picture)[1].tobytes()


def jpeg(picture: np.ndarray) -> bytes:
    """The picture as JPEG."""
    return cv2.imencode(".jpg", picture)[1].tobytes()


def npy(window: np.ndarray) -> bytes:
    """The window as the bytes of a .npy file."""
    stream = io.BytesIO()
    np.save(stream, window, allow_pickle=False)
    return stream.getvalue()


def _serialise(nodes: list[Any], weights: dict[str, Any], inputs: list[Any], outputs: list[Any]) -> bytes:
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "small", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
