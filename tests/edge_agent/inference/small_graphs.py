"""A small ONNX graph for each task, made node by node, whose answers one can work out by hand."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_protocol.bundle import Constant, Manifest, OperatingPoint, RegressionOutput, State, Variant, WindowInput

FLOAT, DOUBLE, INT64, UINT8 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.UINT8

Sides = list[int | str]

POINT = OperatingPoint(accept=0.4, reject=0.6)
COUNTER = {
    "task": "window-regression",
    "input": WindowInput(tensor="window", length=4, rate_hz=1.0, features="raw", dtype="float64"),
    "output": RegressionOutput(unit="h"),
    "operating_point": OperatingPoint(accept=-50.0, reject=-10.0),
    "states": (State(input="before", output="total", shape=(1, 1), dtype="float64"),),
    "constants": (Constant(input="gain", values=(2.0,), dtype="float64"),),
}
"""Fields of the manifest of `counter`."""


def manifest(**fields: object) -> Manifest:
    """A manifest with these fields, its files still to be listed."""
    rest = {"schema": 1, "name": "small", "version": "1.0.0", "variants": (Variant(name="fp32", file="fp32.onnx"),)}
    return Manifest(**(rest | {"operating_point": POINT, "files": {}} | fields))


def serialise(
    nodes: list[Any], inputs: dict[str, tuple[int, Sides]], outputs: dict[str, tuple[int, Sides]], **weights: Any
) -> bytes:
    """The bytes of a graph; inputs and outputs as element type and sides, by name."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, *kind) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def detector(side: int = 32) -> bytes:
    """`rows`: one box (8, 8, 24, 16) of class 0, which scores the mean of the uint8 picture / 255."""
    nodes = [
        helper.make_node("Cast", ["image"], ["light"], to=FLOAT),
        helper.make_node("ReduceMean", ["light"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Div", ["mean", "white"], ["share"]),
        helper.make_node("Reshape", ["share", "one"], ["score"]),
        helper.make_node("Concat", ["box", "score", "label"], ["rows"], axis=2),
    ]
    return serialise(
        nodes,
        {"image": (UINT8, [1, side, side, 3])},
        {"rows": (FLOAT, [1, 1, 6])},
        white=np.float32(255),
        one=np.array([1, 1, 1]),
        box=np.array([[[8, 8, 24, 16]]], np.float32),
        label=np.zeros((1, 1, 1), np.float32),
    )


def segmenter(side: int = 32) -> bytes:
    """`masks`: light, and one minus light: a pixel darker than half belongs to the second class."""
    nodes = [
        helper.make_node("Sub", ["one", "image"], ["dark"]),
        helper.make_node("Concat", ["image", "dark"], ["masks"], axis=1),
    ]
    return serialise(
        nodes,
        {"image": (FLOAT, ["batch", 1, "height", "width"])},
        {"masks": (FLOAT, ["batch", 2, "height", "width"])},
        one=np.float32(1),
    )


def open_counter() -> bytes:
    """As `counter`, but nobody can say before it runs how large the state is that comes out: it is [1, 2]."""
    nodes = [
        helper.make_node("ReduceSum", ["window"], ["sum"], keepdims=1),
        helper.make_node("Concat", ["sum", "sum"], ["twice"], axis=1),
        helper.make_node("Equal", ["twice", "twice"], ["same"]),
        helper.make_node("Reshape", ["same", "row"], ["those"]),
        helper.make_node("Compress", ["twice", "those"], ["total"], axis=1),
        helper.make_node("ReduceSum", ["before"], ["value"], keepdims=1),
    ]
    return serialise(
        nodes,
        {"window": (DOUBLE, [1, 4]), "before": (DOUBLE, [1, "n"])},
        {"value": (DOUBLE, [1, 1]), "total": (DOUBLE, [1, "m"])},
        row=np.array([-1]),
    )


def watcher(length: int = 8) -> bytes:
    """`parts`: the squares of the values; `score`: their sum."""
    nodes = [
        helper.make_node("Mul", ["window", "window"], ["parts"]),
        helper.make_node("ReduceSum", ["parts"], ["sum"], keepdims=0),
        helper.make_node("Reshape", ["sum", "one"], ["score"]),
    ]
    return serialise(
        nodes,
        {"window": (FLOAT, [1, length])},
        {"score": (FLOAT, [1]), "parts": (FLOAT, [1, length])},
        one=np.array([1]),
    )


def counter(length: int = 4) -> bytes:
    """Stateful: `total` = `before` + the sum of the window × `gain`; `value` is the same."""
    nodes = [
        helper.make_node("ReduceSum", ["window"], ["sum"], keepdims=1),
        helper.make_node("Mul", ["sum", "gain"], ["step"]),
        helper.make_node("Add", ["before", "step"], ["total"]),
        helper.make_node("Identity", ["total"], ["value"]),
    ]
    return serialise(
        nodes,
        {"window": (DOUBLE, [1, length]), "before": (DOUBLE, [1, 1]), "gain": (DOUBLE, [])},
        {"value": (DOUBLE, [1, 1]), "total": (DOUBLE, [1, 1])},
    )


def tree(*, is_zipped: bool = False) -> bytes:
    """A tree ensemble on two float64 features: class 7 where the first is at most 1.5, else class 9."""
    nodes = [
        helper.make_node(
            "TreeEnsembleClassifier",
            ["features"],
            ["label", "scores" if is_zipped else "probabilities"],
            domain="ai.onnx.ml",
            nodes_treeids=[0, 0, 0],
            nodes_nodeids=[0, 1, 2],
            nodes_featureids=[0, 0, 0],
            nodes_values=[1.5, 0.0, 0.0],
            nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
            nodes_truenodeids=[1, 0, 0],
            nodes_falsenodeids=[2, 0, 0],
            class_treeids=[0, 0, 0, 0],
            class_nodeids=[1, 1, 2, 2],
            class_ids=[0, 1, 0, 1],
            class_weights=[0.875, 0.125, 0.25, 0.75],
            classlabels_int64s=[7, 9],
            post_transform="NONE",
        )
    ]
    outputs: dict[str, tuple[int, Sides]] = {"label": (INT64, [1]), "probabilities": (FLOAT, [1, 2])}
    if not is_zipped:
        return serialise(nodes, {"features": (DOUBLE, [1, 2])}, outputs)
    nodes.append(
        helper.make_node("ZipMap", ["scores"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[7, 9])
    )
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("features", DOUBLE, [1, 2])],
        [
            helper.make_tensor_value_info("label", INT64, [1]),
            helper.make_value_info(
                "probabilities",
                helper.make_sequence_type_proto(
                    helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, []))
                ),
            ),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())
