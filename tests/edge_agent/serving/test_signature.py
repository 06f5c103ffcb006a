import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_agent.inference.model import Model
from edge_agent.serving.oip import Tensor
from edge_agent.serving.signature import signature_of
from edge_protocol.bundle import Constant, OperatingPoint, State, TensorInput, WindowAnomalyOutput
from tests.edge_agent.inference.small_bundles import npy, window_manifest, write_bundle
from tests.edge_agent.serving.lines import Line


def memory_graph() -> bytes:
    """`total`: what came before plus `gain` times the values; `score`: the largest of it; `count`: an integer."""
    nodes = [
        helper.make_node("Mul", ["values", "gain"], ["scaled"]),
        helper.make_node("Add", ["scaled", "before"], ["total"]),
        helper.make_node("ReduceMax", ["total"], ["peak"], keepdims=0),
        helper.make_node("Reshape", ["peak", "one"], ["score"]),
        helper.make_node("Shape", ["total"], ["count"]),
    ]
    inputs = [
        helper.make_tensor_value_info("values", TensorProto.DOUBLE, ["n", 3]),
        helper.make_tensor_value_info("before", TensorProto.DOUBLE, [1, 3]),
        helper.make_tensor_value_info("gain", TensorProto.DOUBLE, []),
    ]
    outputs = [
        helper.make_tensor_value_info("score", TensorProto.DOUBLE, [1]),
        helper.make_tensor_value_info("total", TensorProto.DOUBLE, ["n", 3]),
        helper.make_tensor_value_info("count", TensorProto.INT64, [2]),
    ]
    weights = [onnx.numpy_helper.from_array(np.array([1], np.int64), "one")]
    graph = helper.make_graph(nodes, "memory", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


def write(folder: Path, **changes: Any) -> Path:
    """A bundle that remembers."""
    manifest = window_manifest(
        name="memory",
        task="tensor-anomaly",
        input=TensorInput(tensor="values", shape=(1, 3), dtype="float64"),
        output=WindowAnomalyOutput(),
        operating_point=OperatingPoint(accept=10.0, reject=20.0),
        states=(State(input="before", output="total", shape=(1, 3), dtype="float64"),),
        constants=(Constant(input="gain", values=(2.0,), dtype="float64"),),
        **changes,
    )
    return write_bundle(folder, manifest, {"fp32.onnx": memory_graph()})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One whose free dimension the manifest fixes."""
    return write(tmp_path / "memory", dimensions={"n": 1})


@pytest.fixture
def line(tmp_path: Path, folder: Path) -> Iterator[Line]:
    """A line with a model that remembers."""
    made = Line(tmp_path)
    made.models["memory"] = Model.load(folder)
    yield made
    made.close()


def given(name: str, values: Any, shape: list[int]) -> dict[str, Any]:
    """An input."""
    return {"name": name, "shape": shape, "datatype": "FP64", "data": values}


def outputs(line: Line, *inputs: dict[str, Any]) -> dict[str, Any]:
    """What the model gives for some inputs."""
    status, told = line.ask("/v2/models/memory/infer", {"inputs": list(inputs)})
    assert status == 200, told
    return {each["name"]: each["data"] for each in told["outputs"]}


def test_every_shape_is_that_of_the_manifest(folder: Path) -> None:
    """States, constants and free dimensions have one shape each; what has a value may be left out."""
    signature = signature_of(Model.load(folder))

    assert signature.inputs == {
        "values": Tensor("values", "FP64", (1, 3)),
        "before": Tensor("before", "FP64", (1, 3)),
        "gain": Tensor("gain", "FP64", ()),
    }
    assert signature.outputs == {
        "score": Tensor("score", "FP64", (1,)),
        "total": Tensor("total", "FP64", (1, 3)),
        "count": Tensor("count", "INT64", (2,)),
    }
    assert signature.defaults.keys() == {"before", "gain"}


def test_a_free_dimension_is_that_of_the_contract(tmp_path: Path) -> None:
    """What the graph leaves free and the manifest's input says is fixed for who asks; an output's is any length."""
    signature = signature_of(Model.load(write(tmp_path)))

    assert signature.inputs["values"].shape == (1, 3)
    assert signature.outputs["total"].shape == (-1, 3)


def test_a_neighbour_carries_its_own_states(line: Line) -> None:
    """Without a state each question begins anew; with the one that came back it goes on. The line keeps its own."""
    values = given("values", [1, 2, 3], [1, 3])

    first = outputs(line, values)
    again = outputs(line, values)
    onward = outputs(line, values, given("before", first["total"], [1, 3]))
    louder = outputs(line, values, given("gain", [10], []))

    assert first == again == {"score": [6.0], "total": [2.0, 4.0, 6.0], "count": [1, 3]}
    assert onward["total"] == [4.0, 8.0, 12.0]
    assert louder["score"] == [30.0]


def test_a_verdict_for_a_neighbour_remembers_nothing(line: Line) -> None:
    """The same array gets the same score however often it is asked, and whatever the line has heard."""
    array = npy(np.array([[1.0, 2.0, 3.0]]))

    told = [line.ask("/v2/models/memory/verdict", array)[1] for _ in range(3)]

    assert [each["score"] for each in told] == [6.0] * 3
    assert {each["verdict"] for each in told} == {"OK"}


def test_the_longest_body_is_that_of_the_inputs(line: Line) -> None:
    """A few numbers leave room for a header and themselves, as text or as bytes."""
    signature = signature_of(line.models["memory"])
    body = {"inputs": [given("values", [0.1234567890123456789] * 3, [1, 3])]}

    assert len(json.dumps(body)) < signature.body_bytes() < 70_000
