import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.serving import oip
from edge_agent.serving.oip import DATATYPES, NAMES, Question, Signature, Tensor
from edge_agent.serving.refusal import Refusal

Array = npt.NDArray[Any]

ONE = Signature({"x": Tensor("x", "FP32", (1, 3))}, {"y": Tensor("y", "FP32", (1, 2))})
STATEFUL = Signature(
    {"x": Tensor("x", "FP32", (1, 3)), "h": Tensor("h", "INT64", (2,))}, ONE.outputs, {"h": np.zeros(2, np.int64)}
)


def ask(content: dict[str, Any], tail: bytes = b"", signature: Signature = ONE) -> Question:
    """The question in a request; with tensors behind it when there are any."""
    header = json.dumps(content).encode()
    return oip.parse(memoryview(header + tail), len(header) if tail else None, signature)


def tensor(**more: Any) -> dict[str, Any]:
    """A request with one good input, changed as told."""
    return {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3], **more}]}


@st.composite
def arrays(draw: st.DrawFn) -> tuple[str, Array]:
    """A tensor of any datatype and a small shape, with its datatype's name."""
    name = draw(st.sampled_from(sorted(DATATYPES)))
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
    size = math.prod(shape) * DATATYPES[name].itemsize
    content = draw(st.binary(min_size=size, max_size=size))
    if name == "BOOL":
        content = bytes(byte & 1 for byte in content)
    return name, np.frombuffer(content, DATATYPES[name]).reshape(shape)


@given(given=arrays())
def test_a_binary_tensor_arrives_bit_by_bit(given: tuple[str, Array]) -> None:
    """What goes out as bytes comes in as the same bytes, for every datatype and shape; a NaN keeps its payload."""
    name, array = given
    signature = Signature({"x": Tensor("x", name, array.shape)}, {"x": Tensor("x", name, array.shape)})
    asked = Question("7", {"x": array}, {"x": True})

    length, buffers = oip.reply("m", "1.0.0", asked, {"x": array})
    body = b"".join(bytes(part) for part in buffers)
    told = json.loads(body[:length])
    request = {"id": told["id"], "inputs": told["outputs"]}
    found = ask(request, body[length:], signature) if array.nbytes else ask(request, b"", signature)

    assert found.id == "7"
    assert found.tensors["x"].dtype == array.dtype
    assert found.tensors["x"].shape == array.shape
    assert found.tensors["x"].tobytes() == array.tobytes()


@given(given=arrays())
def test_a_tensor_of_json_arrives_as_it_was(given: tuple[str, Array]) -> None:
    """Finite numbers of every datatype survive JSON exactly, flat or nested as their shape."""
    name, array = given
    if array.dtype.kind == "f":
        array = np.nan_to_num(array, nan=0.5, posinf=1.0, neginf=-1.0)
    signature = Signature({"x": Tensor("x", name, array.shape)}, {"x": Tensor("x", name, array.shape)})

    length, buffers = oip.reply("m", "1.0.0", Question("", {}, {"x": False}), {"x": array})
    told = json.loads(b"".join(buffers))
    flat = ask({"inputs": told["outputs"]}, b"", signature).tensors["x"]
    told["outputs"][0]["data"] = array.tolist() if array.shape else [array.item()]
    nested = ask({"inputs": told["outputs"]}, b"", signature).tensors["x"] if array.size else flat

    assert length is None
    assert (flat.dtype, flat.shape, flat.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert nested.tobytes() == array.tobytes()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "z"}, "no input 'z'"),
        ({"datatype": "FP64"}, "the model takes FP32"),
        ({"datatype": "BYTES"}, "datatype is 'BYTES'"),
        ({"shape": [3]}, "shape is [3]"),
        ({"shape": [-1, 3]}, "shape is [-1, 3]"),
        ({"data": [1, 2]}, "3 values"),
        ({"data": [[1, 2], [3]]}, "data is not FP32"),
        ({"data": [[[1, 2, 3]]]}, "nested"),
        ({"data": [1, 2, "3"]}, "data is not FP32"),
        ({"data": [1, 2, None]}, "data is not FP32"),
        ({"data": [1, 2, True]}, "data is not FP32"),
        ({"data": {"a": 1}}, "nested"),
        ({"data": None, "parameters": {"shared_memory_region": "a"}}, "shared memory"),
        ({"parameters": {"binary_data_size": 11}}, "binary_data_size is 11"),
        ({"parameters": {"binary_data_size": True}}, "binary_data_size is True"),
        ({"parameters": {"binary_data_size": 12.0}}, "binary_data_size is 12.0"),
        ({"parameters": {"binary_data_size": "12"}}, "binary_data_size is 12"),
        ({"parameters": {"binary_data_size": 12}}, "send one of them"),
        ({"parameters": {"deep": [[]]}}, "not a request"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change: dict[str, Any], told: str) -> None:
    """A wrong name, datatype, shape, size or value is a 400 that names the field; nothing is converted silently."""
    with pytest.raises(Refusal) as caught:
        ask(tensor(**change))

    assert caught.value.status == 400
    assert told in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({}, "inputs"),
        ({"inputs": []}, "x is missing"),
        ({"inputs": tensor()["inputs"] * 2}, "twice"),
        ({**tensor(), "outputs": [{"name": "z"}]}, "no output of numbers 'z'"),
        ({**tensor(), "outputs": [{"name": "y"}] * 2}, "twice"),
        ({**tensor(), "outputs": [{"name": "y", "parameters": {"classification": 2}}]}, "classification"),
        ({**tensor(), "parameters": {"sequence_id": 5}}, "no states are kept"),
    ],
)
def test_a_request_that_means_nothing_here_is_refused(content: dict[str, Any], told: str) -> None:
    """What is missing, doubled or not offered is said."""
    with pytest.raises(Refusal, match=told):
        ask(content)


def test_the_bytes_behind_are_counted_exactly() -> None:
    """One byte too few or too many, or a header longer than the body, is refused."""
    content = tensor(parameters={"binary_data_size": 12})
    del content["inputs"][0]["data"]

    assert ask(content, np.float32([1, 2, 3]).tobytes()).tensors["x"].tolist() == [[1, 2, 3]]
    for tail in (bytes(11), bytes(13)):
        with pytest.raises(Refusal, match="bytes"):
            ask(content, tail)
    with pytest.raises(Refusal, match="Inference-Header-Content-Length"):
        oip.parse(memoryview(b"{}"), 3, ONE)


def test_a_bool_is_zero_or_one() -> None:
    """Any other byte would be neither true nor false to numpy."""
    signature = Signature({"x": Tensor("x", "BOOL", (2,))}, {})
    content = {"inputs": [{"name": "x", "shape": [2], "datatype": "BOOL", "parameters": {"binary_data_size": 2}}]}

    assert ask(content, b"\x01\x00", signature).tensors["x"].tolist() == [True, False]
    with pytest.raises(Refusal, match="0 or 1"):
        ask(content, b"\x02\x00", signature)


def test_what_has_a_default_may_be_left_out() -> None:
    """A state that is not sent is what the manifest says; one that is sent is checked as any other input."""
    left_out = ask(tensor(), b"", STATEFUL)
    sent = tensor()
    sent["inputs"].append({"name": "h", "shape": [2], "datatype": "INT64", "data": [4, 5]})

    assert left_out.tensors["h"].tolist() == [0, 0]
    assert ask(sent, b"", STATEFUL).tensors["h"].tolist() == [4, 5]


def test_each_output_comes_as_it_was_asked_for() -> None:
    """Without a word all outputs come as JSON; binary by request, or by output, which has the last word."""
    both = Signature(ONE.inputs, {name: Tensor(name, "FP32", (1, 2)) for name in "yz"})
    outputs = [{"name": "z"}, {"name": "y", "parameters": {"binary_data": False}}]

    wanted = [
        ask(tensor(), b"", both).wanted,
        ask({**tensor(), "parameters": {"binary_data_output": True}}, b"", both).wanted,
        ask({**tensor(), "parameters": {"binary_data_output": True}, "outputs": outputs}, b"", both).wanted,
    ]

    assert wanted == [{"y": False, "z": False}, {"y": True, "z": True}, {"z": True, "y": False}]


@pytest.mark.parametrize("name", ["FP32", "INT64", "BOOL"])
def test_long_text_is_read_in_pieces(name: str) -> None:
    """The line waits for no more than a piece at a time, and not one number is lost between two."""
    array = (np.arange(60_000) % 7 * (1.1 if name == "FP32" else 1)).astype(DATATYPES[name])
    signature = Signature({"x": Tensor("x", name, array.shape)}, {})
    given = {"name": "x", "shape": array.shape, "datatype": name, "data": array.tolist()}
    spaced = json.dumps({"inputs": [given]}, separators=(" ,\n ", " : ")).encode()

    found = ask({"inputs": [given]}, b"", signature).tensors["x"]
    again = oip.parse(memoryview(spaced), None, signature).tensors["x"]

    assert len(json.dumps(given["data"])) > 2 * oip.CHUNK_BYTES
    assert found.tobytes() == again.tobytes() == array.tobytes()
    given["data"][40_000] = "7"
    with pytest.raises(Refusal, match=f"data is not {name}"):
        ask({"inputs": [given]}, b"", signature)


def test_a_number_too_large_is_refused_wherever_it_stands() -> None:
    """In a piece as in a short list: nothing wraps around."""
    signature = Signature({"x": Tensor("x", "UINT8", (40_000,))}, {})
    values = [0] * 40_000
    values[30_000] = 256

    with pytest.raises(Refusal, match="data is not UINT8"):
        ask({"inputs": [{"name": "x", "shape": [40_000], "datatype": "UINT8", "data": values}]}, b"", signature)


def test_long_text_is_flat() -> None:
    """Nested lists can only be read in one go, so they are short."""
    signature = Signature({"x": Tensor("x", "FP64", (1, 60_000))}, {})
    data = [[0.123456789012345678] * 60_000]

    with pytest.raises(Refusal, match="nested lists") as caught:
        ask({"inputs": [{"name": "x", "shape": [1, 60_000], "datatype": "FP64", "data": data}]}, b"", signature)

    assert "flat" in caught.value.hint


def test_a_bomb_of_commas_is_refused_before_it_is_decoded() -> None:
    """A body has as many values as its shape: more are counted, not made into objects."""
    text = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[' + b"0," * 500_000 + b"0]}]}"

    with pytest.raises(Refusal, match="3 values"):
        oip.parse(memoryview(text), None, ONE)


def is_answered_or_refused(parse: Callable[[], Question]) -> bool:
    """Whether there is a whole tensor, or a 400."""
    try:
        return parse().tensors["x"].shape == (1, 3)
    except Refusal as refusal:
        return refusal.status == 400


@settings(max_examples=100)
@given(body=st.binary(max_size=200), header=st.none() | st.integers(0, 300))
def test_any_bytes_are_a_question_or_a_refusal(body: bytes, header: int | None) -> None:
    """No body does more than be refused with 400."""
    assert is_answered_or_refused(lambda: oip.parse(memoryview(body), header, ONE))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=60)
@given(
    change=st.dictionaries(st.sampled_from(["name", "shape", "datatype", "parameters", "data"]), _JSON),
    outputs=_JSON,
    tail=st.binary(max_size=16),
)
def test_any_json_is_a_question_or_a_refusal(change: dict[str, Any], outputs: Any, tail: bytes) -> None:
    """Nor does any JSON of nearly the right form."""
    assert is_answered_or_refused(lambda: ask({**tensor(**change), "outputs": outputs}, tail))


def test_every_datatype_of_the_protocol_but_text_is_there() -> None:
    """The names are those of the protocol, little endian where there is more than one byte."""
    assert len(DATATYPES) == len(NAMES) == 12
    assert all(kind.newbyteorder("<") == kind for kind in DATATYPES.values())
