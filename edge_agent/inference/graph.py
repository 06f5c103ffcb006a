"""The bytes of an ONNX model come in, what it says of itself goes out: operators, inputs, outputs, names of weights.

A walker of the protobuf that trusts no length, count or depth and copies no weight; what is not needed is stepped over.
Never runs anything, and needs no `onnx`.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NoReturn, TypeAlias

from edge_agent.errors import InferenceError
from edge_protocol.codes import Reason

MAX_FIELDS = 500_000
"""Of all messages together: a quantized picture model has thousands, and nobody else's file may cost without bound."""

MAX_DEPTH = 16
"""Graphs within graphs."""

DOMAINS = frozenset(("", "ai.onnx", "ai.onnx.ml", "com.microsoft"))
"""Whose operators ONNX Runtime brings along."""

DTYPES = (
    "", "float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16", "float64",
    "uint32", "uint64", "complex64", "complex128", "bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2",
    "float8e5m2fnuz", "uint4", "int4", "float4e2m1", "float8e8m0", "uint2", "int2",
)  # fmt: skip
"""The names of ONNX's element types by number."""

Shape: TypeAlias = tuple[int | str, ...]
"""A side is a number or a name; the empty name is a side of which nothing is said."""

_EXTERNAL = 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SKIPPED = {_FIXED64: 8, _FIXED32: 4}
_SHORT_STRINGS = b"|".join(b"\\x4a\\x%02x.{%d}" % (n, n) for n in range(32))
_RUN = re.compile(b"(?:\\x3d.{4}|\\x40[\\x80-\\xff]*+[\\x00-\\x7f]|" + _SHORT_STRINGS + b")++", re.DOTALL)
"""Numbers and short words of an attribute: a forest of trees has half a million, one field each."""


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output; `shape` is None where the graph does not say it, `dtype` is empty for what is no tensor."""

    name: str
    dtype: str
    shape: Shape | None


@dataclass(frozen=True, slots=True)
class Node:
    """An operator at its place; of the standard's own the domain is empty."""

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor that the model brings along, wherever it stands; `is_external` where its data lies in another file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    is_external: bool


@dataclass(slots=True)
class Graph:
    """What a model says of itself. `nodes`, `weights` are also those of inner graphs and of the model's functions."""

    ir_version: int = 0
    opsets: dict[str, int] = field(default_factory=dict)
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)
    functions: set[tuple[str, str]] = field(default_factory=set)


def read(model: bytes) -> Graph:
    """What `model` says of itself.

    Raises:
        InferenceError: NO_MODEL: these are not the bytes of an ONNX model, or it is too intricate to be looked at.
    """
    walker = _Walker()
    walker.model(memoryview(model))
    graph = walker.found
    if not graph.outputs:
        _refuse("the model has no graph with outputs", "make the bundle again, from a whole ONNX file")
    return graph


def check(graph: Graph, newest_opset: Callable[[str], int | None] = lambda _domain: None) -> None:
    """See that a model stands alone and speaks of operators that are known here.

    `newest_opset` says how far a domain's operators are known, None where that is not known.

    Raises:
        InferenceError: NO_MODEL, naming what is wrong and the cure.
    """
    for weight in graph.weights:
        if weight.is_external:
            message = f"the model wants to read files beside it: the data of the weight {weight.name!r}"
            _refuse(message, "save it with its weights inside: onnx.save_model(…, save_as_external_data=False)")
    for node in graph.nodes:
        if node.domain not in DOMAINS and (node.domain, node.op) not in graph.functions:
            message = f"node {node.name!r}: the operator {node.op} of {node.domain!r} is not known here"
            _refuse(message, "export the model with operators of ONNX or of com.microsoft, without custom ones")
    for domain, version in graph.opsets.items():
        newest = newest_opset(domain) if domain in DOMAINS else None
        if newest is not None and version > newest:
            message = (
                f"opset_import: the model is written in opset {version} of {domain or 'ai.onnx'}, {newest} is known"
            )
            _refuse(message, f"export the model with an opset of at most {newest}, or update onnxruntime")


class _Walker:
    def __init__(self) -> None:
        self.found = Graph()
        self._left = MAX_FIELDS

    def model(self, view: memoryview) -> None:
        """ModelProto."""
        for number, value in self._fields(view):
            if number == 1 and isinstance(value, int):
                self.found.ir_version = value
            elif number == 7 and isinstance(value, memoryview):
                self._graph(value, 0)
            elif number == 8 and isinstance(value, memoryview):
                domain, version = self._opset(value)
                self.found.opsets[domain] = version
            elif number == 20 and isinstance(value, memoryview):
                self._graphs_of(value, (1, 2), 1)
            elif number == 25 and isinstance(value, memoryview):
                self._function(value)

    def _graph(self, view: memoryview, depth: int) -> None:
        """GraphProto; only those of depth 0 have inputs and outputs that anybody feeds."""
        if depth > MAX_DEPTH:
            _refuse(f"the model has graphs within graphs, more than {MAX_DEPTH} deep", "make it simpler")
        for number, value in self._fields(view):
            if not isinstance(value, memoryview):
                continue
            if number == 1:
                self._node(value, depth)
            elif number == 5:
                self._tensor(value)
            elif number == 15:
                self._sparse(value)
            elif number == 11 and depth == 0:
                self.found.inputs.append(self._value(value))
            elif number == 12 and depth == 0:
                self.found.outputs.append(self._value(value))

    def _node(self, view: memoryview, depth: int) -> None:
        inputs, outputs, words = [], [], {3: "", 4: "", 7: ""}
        for number, value in self._fields(view):
            if not isinstance(value, memoryview):
                continue
            if number == 1:
                inputs.append(_text(value))
            elif number == 2:
                outputs.append(_text(value))
            elif number in words:
                words[number] = _text(value)
            elif number == 5:
                self._attribute(value, depth)
        domain = "" if words[7] == "ai.onnx" else words[7]
        self.found.nodes.append(Node(words[4], domain, words[3], tuple(inputs), tuple(outputs)))

    def _attribute(self, view: memoryview, depth: int) -> None:
        for number, value in self._fields(view, _RUN):
            if not isinstance(value, memoryview):
                continue
            if number in {5, 10}:
                self._tensor(value)
            elif number in {6, 11}:
                self._graph(value, depth + 1)
            elif number in {22, 23}:
                self._sparse(value)

    def _tensor(self, view: memoryview) -> None:
        dims: list[int] = []
        name, dtype, is_external = "", 0, False
        for number, value in self._fields(view):
            if number == 1:
                dims += [value] if isinstance(value, int) else _packed(value)
            elif number == 2 and isinstance(value, int):
                dtype = value
            elif number == 8 and isinstance(value, memoryview):
                name = _text(value)
            elif number == 13 or (number == 14 and value == _EXTERNAL):
                is_external = True
        self.found.weights.append(Weight(name, _dtype(dtype), tuple(map(_signed, dims)), is_external))

    def _sparse(self, view: memoryview) -> None:
        for number, value in self._fields(view):
            if number in {1, 2} and isinstance(value, memoryview):
                self._tensor(value)

    def _function(self, view: memoryview) -> None:
        name, domain = "", ""
        for number, value in self._fields(view):
            if not isinstance(value, memoryview):
                continue
            if number == 1:
                name = _text(value)
            elif number == 10:
                domain = _text(value)
            elif number == 7:
                self._node(value, 1)
            elif number == 11:
                self._attribute(value, 1)
        self.found.functions.add((domain, name))

    def _graphs_of(self, view: memoryview, numbers: tuple[int, ...], depth: int) -> None:
        for number, value in self._fields(view):
            if number in numbers and isinstance(value, memoryview):
                self._graph(value, depth)

    def _opset(self, view: memoryview) -> tuple[str, int]:
        domain, version = "", 0
        for number, value in self._fields(view):
            if number == 1 and isinstance(value, memoryview):
                domain = _text(value)
            elif number == 2 and isinstance(value, int):
                version = _signed(value)
        return ("" if domain == "ai.onnx" else domain), version

    def _value(self, view: memoryview) -> Value:
        """ValueInfoProto, whose type is a TypeProto with a tensor's type in it, or something else."""
        name, dtype, shape = "", "", None
        for number, value in self._fields(view):
            if number == 1 and isinstance(value, memoryview):
                name = _text(value)
            elif number == 2 and isinstance(value, memoryview):
                for kind, tensor in self._fields(value):
                    if kind == 1 and isinstance(tensor, memoryview):
                        dtype, shape = self._tensor_type(tensor)
        return Value(name, dtype, shape)

    def _tensor_type(self, view: memoryview) -> tuple[str, Shape | None]:
        dtype, shape = 0, None
        for number, value in self._fields(view):
            if number == 1 and isinstance(value, int):
                dtype = value
            elif number == 2 and isinstance(value, memoryview):
                shape = tuple(
                    self._side(side) for n, side in self._fields(value) if n == 1 and isinstance(side, memoryview)
                )
        return _dtype(dtype), shape

    def _side(self, view: memoryview) -> int | str:
        side: int | str = ""
        for number, value in self._fields(view):
            if number == 1 and isinstance(value, int):
                side = _signed(value)
            elif number == 2 and isinstance(value, memoryview):
                side = _text(value)
        return side

    def _fields(
        self, view: memoryview, run: re.Pattern[bytes] | None = None
    ) -> Iterator[tuple[int, int | memoryview | None]]:
        """The fields of a message in order: numbers and bytes, None for others. `run` matches what is jumped over."""
        at, end = 0, len(view)
        while at < end:
            if run is not None and (jumped := run.match(view, at)) is not None:
                at = jumped.end()
                continue
            self._left -= 1
            if self._left < 0:
                _refuse(f"the model has more than {MAX_FIELDS} parts", "make it simpler")
            tag, at = _varint(view, at)
            wire = tag & 7
            value: int | memoryview | None = None
            if wire == _VARINT:
                value, at = _varint(view, at)
            elif wire == _BYTES:
                length, at = _varint(view, at)
                value, at = view[at : at + length], at + length
            elif wire in _SKIPPED:
                at += _SKIPPED[wire]
            else:
                raise _no_model()
            if at > end:
                raise _no_model()
            yield tag >> 3, value


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    try:
        byte = view[at]
        if byte < 0x80:
            return byte, at + 1
        value = byte & 0x7F
        for shift in range(7, 70, 7):
            at += 1
            byte = view[at]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF, at + 1
    except IndexError:
        pass
    raise _no_model()


def _packed(view: memoryview | None) -> list[int]:
    values, at = [], 0
    while view is not None and at < len(view):
        value, at = _varint(view, at)
        values.append(value)
    return values


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _text(view: memoryview) -> str:
    return str(view, "utf-8", "replace")


def _dtype(number: int) -> str:
    return DTYPES[number] if number < len(DTYPES) else f"type {number}"


def _no_model() -> InferenceError:
    message = "these are not the bytes of an ONNX model"
    return InferenceError(message, "make the bundle again, from a whole ONNX file", Reason.NO_MODEL)


def _refuse(message: str, hint: str) -> NoReturn:
    raise InferenceError(message, hint, Reason.NO_MODEL)
