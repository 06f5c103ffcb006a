"""The Open Inference Protocol v2: a request's bytes become tensors by name, and outputs become a reply's bytes.

JSON and the binary-tensor extension, every numeric datatype. Names, datatypes, shapes and sizes are checked against the
model's signature before memory is taken for them. Never runs anything.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Any, NoReturn, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from edge_agent.serving.refusal import Refusal

Array = npt.NDArray[Any]

DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""The protocol's name of a datatype → ours. BYTES and BF16 are not there: models here take and give numbers."""

NAMES = {kind: name for name, kind in DATATYPES.items()}

JSON_BYTES_PER_VALUE = 32
"""Room for a number in a JSON body: 25 characters print any float64, a comma, and brackets."""

HEADER_BYTES = 64 * 1024
"""Room for all of a body that is no number."""

MAX_TEXT_BYTES = 8 * 2**20
"""The longest JSON body that is taken; what is larger is sent as binary tensors, which cost the line nothing."""

CHUNK_BYTES = 64 * 1024
"""Text that is made numbers in one go: while it is, no other thread of this process moves."""

MAX_NESTED_BYTES = 2**20

_ANY_BYTES = 8 * 2**20
"""Room for an input of any length."""

_MAX_SIZE = 2**40
_VALUES = {"b": bool, "u": int, "i": int, "f": float}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output of a model. A -1 in `shape` is any length."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and gives. An input that is in `defaults` may be left out."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    defaults: Mapping[str, Array] = field(default_factory=dict)

    def body_bytes(self) -> int:
        """The longest request there can be: every input as JSON text, or as binary where that is too long."""
        text = binary = 0
        for tensor in self.inputs.values():
            values = math.prod(n for n in tensor.shape if n >= 0)
            room = _ANY_BYTES if -1 in tensor.shape else 0
            text += room + values * JSON_BYTES_PER_VALUE
            binary += room + values * DATATYPES[tensor.datatype].itemsize
        return HEADER_BYTES + max(binary, min(text, MAX_TEXT_BYTES))


@dataclass(frozen=True, slots=True)
class Question:
    """A checked request: a tensor for every input, and which outputs are wanted in which form (name → binary?)."""

    id: str
    tensors: dict[str, Array]
    wanted: Mapping[str, bool]


_Parameter: TypeAlias = bool | int | float | str | None


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, _Parameter] = {}
    data: msgspec.Raw = msgspec.Raw()


class _Wanted(msgspec.Struct):
    name: str
    parameters: dict[str, _Parameter] = {}


class _Request(msgspec.Struct):
    inputs: list[_Input]
    id: str = ""
    parameters: dict[str, _Parameter] = {}
    outputs: list[_Wanted] = []


_decode = msgspec.json.Decoder(_Request).decode
_encode = msgspec.json.Encoder().encode


def parse(body: memoryview, header_bytes: int | None, signature: Signature) -> Question:
    """The question in a request's body; its tensors may look into `body`. `header_bytes` is how much of it is JSON.

    Raises:
        Refusal: 400 with the field that is wrong.
    """
    length = len(body) if header_bytes is None else header_bytes
    if length > len(body):
        _refuse(f"Inference-Header-Content-Length is {length}, the body has {len(body)} bytes")
    try:
        request = _decode(body[:length])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"the body is not a request of this protocol: {error}") from error
    tensors = _inputs(request.inputs, body[length:], signature)
    return Question(request.id, tensors, _wanted(request, signature))


def reply(model: str, version: str, question: Question, outputs: Mapping[str, Array]) -> tuple[int | None, list[Any]]:
    """The answer as (length of its JSON where tensors follow it, buffers to be sent one after the other)."""
    told: list[dict[str, Any]] = []
    buffers: list[Any] = []
    for name, is_binary in question.wanted.items():
        array = outputs[name]
        entry: dict[str, Any] = {"name": name, "datatype": NAMES[array.dtype], "shape": array.shape}
        if is_binary:
            content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            entry["parameters"] = {"binary_data_size": content.nbytes}
            buffers.append(content.data)
        else:
            entry["data"] = array.ravel().tolist()
        told.append(entry)
    answer: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": told}
    if question.id:
        answer["id"] = question.id
    header = _encode(answer)
    return (len(header) if buffers else None), [header, *buffers]


def _inputs(given: Sequence[_Input], tail: memoryview, signature: Signature) -> dict[str, Array]:
    tensors: dict[str, Array] = dict(signature.defaults)
    seen: set[str] = set()
    start = 0
    for each in given:
        expected = signature.inputs.get(each.name)
        if expected is None:
            _refuse(f"inputs: there is no input {each.name[:80]!r}", f"it takes {', '.join(signature.inputs)}")
        if each.name in seen:
            _refuse(f"inputs: {each.name!r} is there twice")
        seen.add(each.name)
        kind, shape = _checked(each, expected)
        if "binary_data_size" in each.parameters:
            tensors[each.name] = array = _from_bytes(each, kind, shape, tail[start:])
            start += array.nbytes
        else:
            tensors[each.name] = _from_json(each, kind, shape)
    if start != len(tail):
        _refuse(f"{len(tail) - start} bytes follow the JSON that no input's binary_data_size speaks of")
    missing = signature.inputs.keys() - tensors.keys()
    if missing:
        _refuse(f"inputs: {', '.join(sorted(missing))} is missing")
    return tensors


def _checked(given: _Input, expected: Tensor) -> tuple[np.dtype[Any], tuple[int, ...]]:
    where = f"input {given.name!r}"
    if given.datatype != expected.datatype:
        _refuse(f"{where}: datatype is {given.datatype[:20]!r}, the model takes {expected.datatype}", _about(given))
    fits = len(given.shape) == len(expected.shape) and all(
        n == m or (m == -1 and 0 < n < _MAX_SIZE) for n, m in zip(given.shape, expected.shape, strict=True)
    )
    if not fits:
        _refuse(f"{where}: shape is {str(given.shape)[:80]}, the model takes {list(expected.shape)}")
    if "shared_memory_region" in given.parameters:
        _refuse(f"{where}: shared memory is not offered", "send the tensor in the body")
    return DATATYPES[expected.datatype], tuple(given.shape)


def _about(given: _Input) -> str:
    if given.datatype in DATATYPES:
        return ""
    return f"numbers only: {', '.join(DATATYPES)}"


def _from_bytes(given: _Input, kind: np.dtype[Any], shape: tuple[int, ...], tail: memoryview) -> Array:
    where, size, told = f"input {given.name!r}", math.prod(shape) * kind.itemsize, given.parameters["binary_data_size"]
    if type(told) is not int or told != size:
        _refuse(f"{where}: binary_data_size is {str(told)[:40]}, {list(shape)} {given.datatype} takes {size} bytes")
    if len(given.data):
        _refuse(f"{where}: has data and a binary_data_size", "send one of them")
    if len(tail) < size:
        _refuse(f"{where}: binary_data_size is {size}, {len(tail)} bytes are left of the body")
    content = tail[:size]
    if kind.kind == "b" and np.frombuffer(content, np.uint8).max(initial=0) > 1:
        _refuse(f"{where}: a BOOL is a byte of 0 or 1")
    array = np.frombuffer(content, kind).reshape(shape)
    # The engine's vector instructions may ask for it; the first tensor of a body is aligned by who reads it.
    return array if array.flags.aligned else array.copy()


def _from_json(given: _Input, kind: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    where, count, text = f"input {given.name!r}", math.prod(shape), bytes(given.data)
    if not text:
        _refuse(f"{where}: has neither data nor a binary_data_size")
    depth = _depth(text[: len(shape) + 64])
    if depth != 1 and depth != len(shape):
        _refuse(f"{where}: data is a flat list, or lists nested as its shape {list(shape)}")
    # Between values there is one comma less than values, however they are nested: known before memory is taken.
    if text.count(b",") != max(0, count - 1):
        _refuse(f"{where}: data has not the {count} values of its shape {list(shape)}")
    if depth > 1 and len(text) > MAX_NESTED_BYTES:
        _refuse(f"{where}: nested lists of more than {MAX_NESTED_BYTES} bytes are not taken", "send a flat list")
    try:
        with np.errstate(over="ignore"):
            array = np.array(_values(text, kind, depth), kind) if depth != 1 else _flat(text, kind, count)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise Refusal(
            HTTPStatus.BAD_REQUEST, f"{where}: data is not {given.datatype} {list(shape)}: {error}"
        ) from error
    if array.size != count or (depth > 1 and array.shape != shape):
        _refuse(f"{where}: data has {array.size} values, its shape {list(shape)} takes {count}")
    return array.reshape(shape)


def _flat(text: bytes, kind: np.dtype[Any], count: int) -> Array:
    """The numbers of a list, a piece at a time: between two pieces the line's threads have their turn."""
    inner = text.strip()
    if len(inner) <= CHUNK_BYTES:
        return np.array(_values(inner, kind, 1), kind)
    array, filled, at = np.empty(count, kind), 0, 1
    while at < len(inner):
        end = inner.find(b",", at + CHUNK_BYTES)
        end = len(inner) - 1 if end < 0 else end
        piece = np.array(_values(b"[" + inner[at:end] + b"]", kind, 1), kind)
        array[filled : filled + len(piece)] = piece
        filled, at = filled + len(piece), end + 1
    return array[:filled]


def _values(text: bytes, kind: np.dtype[Any], depth: int) -> Any:
    return msgspec.json.decode(text, type=_nested(kind.kind, depth))


def _depth(text: bytes) -> int:
    """How many lists begin at the beginning."""
    depth = 0
    for byte in text:
        if byte == ord("["):
            depth += 1
        elif byte not in b" \t\r\n":
            break
    return depth


@cache
def _nested(kind: str, depth: int) -> Any:
    found: Any = _VALUES[kind]
    for _ in range(depth):
        found = list[found]
    return found


def _wanted(request: _Request, signature: Signature) -> dict[str, bool]:
    if request.parameters.get("sequence_id"):
        _refuse("parameters: sequence_id: no states are kept between requests", "send the states as inputs")
    binary = request.parameters.get("binary_data_output", False) is True
    if not request.outputs:
        return dict.fromkeys(signature.outputs, binary)
    wanted: dict[str, bool] = {}
    for each in request.outputs:
        if each.name not in signature.outputs:
            known = ", ".join(signature.outputs)
            _refuse(f"outputs: there is no output of numbers {each.name[:80]!r}", f"it gives {known}")
        if each.name in wanted:
            _refuse(f"outputs: {each.name!r} is there twice")
        if refused := {"classification", "shared_memory_region"} & each.parameters.keys():
            _refuse(f"output {each.name!r}: {', '.join(sorted(refused))} is not offered", "take the whole tensor")
        wanted[each.name] = each.parameters.get("binary_data", binary) is True
    return wanted


def _refuse(message: str, hint: str = "") -> NoReturn:
    raise Refusal(HTTPStatus.BAD_REQUEST, message, hint)
