from collections.abc import Callable, Iterator

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edge_agent.errors import InferenceError
from edge_agent.inference import graph
from edge_agent.inference.graph import DTYPES, MAX_DEPTH, Graph, Value
from tests.edge_agent.inference import small_bundles

ONE = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, None])]
TWO = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]


def model(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray] | None = None, **more: object) -> onnx.ModelProto:
    """A model around nodes."""
    initializers = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    body = helper.make_graph(nodes, "g", ONE, TWO, initializers)
    opsets = more.pop("opset_imports", [helper.make_opsetid("", 17)])
    return helper.make_model(body, opset_imports=opsets, ir_version=9, **more)


def branches(depth: int = 1) -> onnx.ModelProto:
    """A model that chooses between two inner graphs, so many within one another."""
    value = numpy_helper.from_array(np.ones(3, np.float32), "inner")
    nodes = [helper.make_node("Constant", [], ["y"], name="deepest", value=value)]
    for _ in range(depth):
        inner = helper.make_graph(nodes, "inner", [], TWO)
        plain = helper.make_graph([helper.make_node("Constant", [], ["y"], value_float=1.0)], "plain", [], TWO)
        nodes = [helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=plain)]
    return model(nodes)


def forest(splits: int) -> onnx.ModelProto:
    """Trees as skl2onnx writes them: a field for each number."""
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml")
    for name, values in (
        ("nodes_values", [0.5] * splits),
        ("nodes_featureids", list(range(splits))),
        ("nodes_modes", ["BRANCH_LEQ", "LEAF"] * (splits // 2)),
    ):
        node.attribute.append(helper.make_attribute(name, values))
    return model([node], opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)])


def with_function() -> onnx.ModelProto:
    """A model that brings an operator of its own along, written in those of the standard."""
    body = [helper.make_node("Abs", ["a"], ["b"])]
    own = helper.make_function("acme", "Own", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("acme", 1)]
    return model([helper.make_node("Own", ["x"], ["y"], domain="acme")], functions=[own], opset_imports=opsets)


def sparse() -> onnx.ModelProto:
    """A model with a sparse weight."""
    made = model([helper.make_node("Identity", ["x"], ["y"])])
    values = numpy_helper.from_array(np.array([2.0], np.float32), "thin")
    where = helper.make_tensor("where", TensorProto.INT64, [1], [4])
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, where, [9]))
    return made


MODELS = {
    "image": onnx.load_from_string(small_bundles.image_graph()),
    "window": onnx.load_from_string(small_bundles.window_graph()),
    "branches": branches(),
    "forest": forest(200),
    "function": with_function(),
    "sparse": sparse(),
}


def inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs in a node's attributes."""
    for attribute in node.attribute:
        yield from ([attribute.g] if attribute.HasField("g") else [])
        yield from attribute.graphs


def nodes_of(body: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph, those of inner ones before the node that holds them."""
    for node in body.node:
        for inner in inner_graphs(node):
            yield from nodes_of(inner)
        yield node


def value_of(info: onnx.ValueInfoProto) -> Value:
    """What onnx says of an input or output."""
    tensor = info.type.tensor_type
    sides = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param for d in tensor.shape.dim)
    return Value(info.name, DTYPES[tensor.elem_type], sides if tensor.HasField("shape") else None)


def read_or_refuse(content: bytes) -> Graph | InferenceError:
    """What the walker makes of bytes."""
    try:
        return graph.read(content)
    except InferenceError as error:
        return error


@pytest.mark.parametrize("name", MODELS)
def test_what_is_read_is_what_onnx_reads(name: str) -> None:
    """Versions, opsets, inputs, outputs, every node with its names and every weight's: as the library has them."""
    theirs = MODELS[name]

    found = graph.read(theirs.SerializeToString())

    assert found.ir_version == theirs.ir_version
    assert found.opsets == {each.domain: each.version for each in theirs.opset_import}
    assert found.inputs == list(map(value_of, theirs.graph.input))
    assert found.outputs == list(map(value_of, theirs.graph.output))
    expected = [*nodes_of(theirs.graph), *(node for own in theirs.functions for node in nodes_of(own))]
    assert [(n.op, n.domain, n.name, n.inputs, n.outputs) for n in found.nodes] == [
        (n.op_type, n.domain, n.name, tuple(n.input), tuple(n.output)) for n in expected
    ]
    weights = {(w.name, w.dtype, w.shape, w.is_external) for w in found.weights}
    assert weights >= {(w.name, DTYPES[w.data_type], tuple(w.dims), False) for w in theirs.graph.initializer}
    assert found.functions == {(own.domain, own.name) for own in theirs.functions}


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(MODELS)),
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6), st.integers(0, 8)), min_size=1, max_size=5),
    st.floats(0, 1),
)
def test_no_bytes_lead_to_anything_but_a_graph_or_a_refusal(
    name: str, changes: list[tuple[float, bytes, int]], kept: float
) -> None:
    """Real models with bytes replaced, inserted, cut out and cut off."""
    content = MODELS[name].SerializeToString()
    for where, put, taken in changes:
        at = int(where * len(content))
        content = content[:at] + put + content[at + taken :]
    content = content[: int(kept * len(content)) if kept > 0.5 else len(content)]

    assert isinstance(read_or_refuse(content), Graph | InferenceError)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_graph_or_a_refusal(content: bytes) -> None:
    """Bytes that were never a model."""
    assert isinstance(read_or_refuse(content), Graph | InferenceError)


@pytest.mark.parametrize("name", ["image", "branches", "sparse"])
def test_a_model_that_was_cut_off_is_refused(name: str) -> None:
    """Wherever within its graph it ends: a length that leads out of the bytes is believed nowhere."""
    content = MODELS[name].SerializeToString()
    behind = sum(2 + each.ByteSize() for each in MODELS[name].opset_import)

    found = [read_or_refuse(content[:end]) for end in range(len(content) - behind)]

    assert all(isinstance(each, InferenceError) for each in found)


def external_weight() -> onnx.ModelProto:
    """A weight that lies in another file."""
    made = model([helper.make_node("Add", ["x", "w"], ["y"])], {"w": np.ones(3, np.float32)})
    onnx.external_data_helper.set_external_data(made.graph.initializer[0], location="/etc/hostname")
    return made


def external_constant() -> onnx.ModelProto:
    """A constant inside of an inner graph that lies in another file."""
    made = branches(2)
    inner = made.graph
    while inner.node[0].op_type == "If":
        inner = next(each.g for each in inner.node[0].attribute if each.name == "then_branch")
    tensor = inner.node[0].attribute[0].t
    onnx.external_data_helper.set_external_data(tensor, location="beside.bin")
    return made


def external_sparse() -> onnx.ModelProto:
    """The values of a sparse weight that lie in another file."""
    made = sparse()
    onnx.external_data_helper.set_external_data(made.graph.sparse_initializer[0].values, location="beside.bin")
    return made


@pytest.mark.parametrize("make", [external_weight, external_constant, external_sparse])
def test_data_in_other_files_is_refused_wherever_it_hides(make: Callable[[], onnx.ModelProto]) -> None:
    """The weight is named, and so is the cure."""
    with pytest.raises(InferenceError, match="files beside it") as caught:
        graph.check(graph.read(make().SerializeToString()))

    assert "save_as_external_data=False" in caught.value.hint


def test_weights_that_look_like_a_file_name_are_weights() -> None:
    """What stands in a weight's own bytes names no file, whatever they spell."""
    spelt = np.frombuffer(b"\x0a\x08location" * 4, np.uint8)
    made = model([helper.make_node("Identity", ["x"], ["y"])], {"w": spelt})

    graph.check(graph.read(made.SerializeToString()))


def test_an_operator_of_a_strange_domain_is_refused_by_its_name() -> None:
    """Custom operators are libraries that somebody would have to load."""
    made = model([helper.make_node("Fly", ["x"], ["y"], name="wing", domain="com.acme")])

    with pytest.raises(InferenceError, match=r"node 'wing': the operator Fly of 'com.acme' is not known here"):
        graph.check(graph.read(made.SerializeToString()))


@pytest.mark.parametrize("name", MODELS)
def test_whole_models_pass(name: str) -> None:
    """Trees, inner graphs, sparse weights, and operators that the model itself defines."""
    graph.check(graph.read(MODELS[name].SerializeToString()), lambda _domain: 17)


def test_an_opset_from_the_future_is_refused_with_the_newest_known() -> None:
    """A model that says a later opset than is known here, whichever operators it uses."""
    made = model([helper.make_node("Abs", ["x"], ["y"])], opset_imports=[helper.make_opsetid("", 99)])

    with pytest.raises(InferenceError, match=r"opset 99 of ai.onnx, 26 is known") as caught:
        graph.check(graph.read(made.SerializeToString()), lambda _domain: 26)

    assert "at most 26" in caught.value.hint


def test_graphs_within_graphs_have_an_end() -> None:
    """A model deeper than anything real is refused, not followed."""
    graph.read(branches(MAX_DEPTH).SerializeToString())

    with pytest.raises(InferenceError, match="deep"):
        graph.read(branches(MAX_DEPTH + 1).SerializeToString())


def test_crumbs_without_end_are_refused_and_numbers_of_a_forest_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of fields is bounded; a forest's numbers are jumped over and count for nothing."""
    monkeypatch.setattr(graph, "MAX_FIELDS", 5000)

    graph.read(forest(20_000).SerializeToString())

    with pytest.raises(InferenceError, match="more than 5000 parts"):
        graph.read(model([helper.make_node("Concat", ["x"] * 6000, ["y"], axis=0)]).SerializeToString())
