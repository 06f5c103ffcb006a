"""A manifest and a loaded graph come in; where they disagree an error that names the field and the cure goes out.

Compared at load by name, type, rank and sides, so that the first part never finds out.
"""

import math
from collections.abc import Iterator, Mapping

from edge_agent.errors import InferenceError
from edge_agent.inference import graph
from edge_agent.inference.feed import Array, Feed
from edge_protocol.bundle import (
    AnomalyOutput,
    ClassOutput,
    DetectionOutput,
    Manifest,
    OutputContract,
    RegressionOutput,
    SegmentationOutput,
    WindowAnomalyOutput,
)
from edge_protocol.codes import Reason

Kind = tuple[str, tuple[object, ...]]
"""ONNX Runtime's word for a type, and the sides: numbers where they are fixed."""

Pattern = tuple[int | None, ...]

TYPES = {
    "float32": "tensor(float)",
    "float64": "tensor(double)",
    "uint8": "tensor(uint8)",
    "int32": "tensor(int32)",
    "int64": "tensor(int64)",
}
_NUMBERS = frozenset({*TYPES.values(), "tensor(float16)", "tensor(bool)", "tensor(int8)", "tensor(int16)"})
_ZIP_MAP = "seq(map("


def check_match(manifest: Manifest, tensor: Array, inputs: Mapping[str, Kind], results: Mapping[str, Kind]) -> None:
    """Compare what the graph takes and gives with what the manifest feeds it and reads of it.

    Raises:
        InferenceError: NO_MODEL: all that disagrees, field by field.
    """
    problems = [*_input_problems(manifest, tensor, inputs), *_output_problems(manifest, results)]
    if problems:
        hint = "change the manifest's fields to what the graph has, or export the graph anew"
        raise InferenceError("; ".join(problems), hint, Reason.NO_MODEL)


def check_dimensions(manifest: Manifest, model: bytes) -> None:
    """See that every dimension that the manifest fixes is one that the graph leaves open.

    Raises:
        InferenceError: NO_MODEL: there is none of that name.
    """
    if not manifest.dimensions:
        return
    named = {side for value in graph.read(model).inputs for side in value.shape or () if isinstance(side, str)} - {""}
    if unknown := manifest.dimensions.keys() - named:
        message = (
            f"dimensions: the graph has no {', '.join(sorted(unknown))}, it has {', '.join(sorted(named)) or 'none'}"
        )
        raise InferenceError(message, "name the sides as the graph's inputs do, or leave them out", Reason.NO_MODEL)


def is_open(results: Mapping[str, Kind]) -> bool:
    """Whether a graph does not tell what its outputs will be like."""
    return any(not sides or not all(isinstance(side, int) for side in sides) for _, sides in results.values())


def observed(results: Mapping[str, Kind], outputs: Mapping[str, Array]) -> dict[str, Kind]:
    """The kinds of outputs with the sides that they really had."""
    return {
        name: (kind, outputs[name].shape if hasattr(outputs[name], "shape") else sides)
        for name, (kind, sides) in results.items()
    }


def _input_problems(manifest: Manifest, tensor: Array, inputs: Mapping[str, Kind]) -> Iterator[str]:
    feed = Feed(manifest)
    fed = {"input.tensor": {manifest.input.tensor: tensor}, "states[].input": feed.zeros}
    for field, arrays in (fed | {"constants[].input": feed.constants}).items():
        for name, array in arrays.items():
            yield from _problems(field, name, inputs, str(array.dtype), array.shape)
    for name in inputs.keys() - feed.alone(tensor).keys():
        yield f"the graph also takes {name!r} {_text(inputs[name])}: give it a value in constants or states"


def _output_problems(manifest: Manifest, results: Mapping[str, Kind]) -> Iterator[str]:
    for state in manifest.states:
        yield from _problems("states[].output", state.output, results, state.dtype, state.shape)
    for field, name, pattern in _expected(manifest.output):
        if name not in results:
            yield f"output.{field}: {_absent(name, results)}"
            continue
        kind, shape = results[name]
        is_map = kind.startswith(_ZIP_MAP) and isinstance(manifest.output, ClassOutput)
        if not is_map and (kind not in _NUMBERS or not _has(shape, pattern)):
            wanted = ", ".join("n" if side is None else str(side) for side in pattern)
            yield f"output.{field}: {name!r} is {_text(results[name])}, the manifest says numbers [{wanted}]"


def _problems(field: str, name: str, there: Mapping[str, Kind], dtype: str, shape: tuple[int, ...]) -> Iterator[str]:
    if name not in there:
        yield f"{field}: {_absent(name, there)}"
        return
    kind, sides = there[name]
    fits = len(sides) == len(shape) and all(
        not isinstance(side, int) or side == own for side, own in zip(sides, shape, strict=True)
    )
    if kind != TYPES[dtype] or not fits:
        yield f"{field}: {name!r} is {_text(there[name])}, the manifest says {dtype}{list(shape)}"


def _absent(name: str, there: Mapping[str, Kind]) -> str:
    return f"the graph has no {name!r}, it has {', '.join(map(repr, there)) or 'none'}"


def _text(kind: Kind) -> str:
    sides = ", ".join("n" if side is None else str(side) for side in kind[1])
    return f"{kind[0].removeprefix('tensor(').removesuffix(')')}[{sides}]"


def _has(sides: tuple[object, ...], pattern: Pattern) -> bool:
    """Whether sides end in the pattern, with nothing but ones before. No sides: the graph does not tell."""
    if not sides:
        return True
    ahead, last = sides[: len(sides) - len(pattern)], sides[len(sides) - len(pattern) :]
    return (
        len(last) == len(pattern)
        and math.prod(side for side in ahead if isinstance(side, int)) == 1
        and all(not isinstance(a, int) or b is None or a == b for a, b in zip(last, pattern, strict=True))
    )


def _expected(contract: OutputContract) -> Iterator[tuple[str, str, Pattern]]:
    """Field, name and last sides of every output that is read."""
    match contract:
        case AnomalyOutput():
            yield "map", contract.map, (None, None)
            yield "score", contract.score, ()
        case ClassOutput():
            yield "probabilities", contract.probabilities, (len(contract.classes),)
        case SegmentationOutput():
            yield "masks", contract.masks, (len(contract.classes), None, None)
        case WindowAnomalyOutput():
            yield "score", contract.score, ()
            if contract.parts:
                yield "parts", contract.parts, (None,)
        case RegressionOutput():
            yield "value", contract.value, ()
        case DetectionOutput():
            yield from _of_detection(contract)


def _of_detection(contract: DetectionOutput) -> Iterator[tuple[str, str, Pattern]]:
    classes = len(contract.classes)
    if contract.form == "packed":
        yield "boxes", contract.boxes, (None, 6)
        return
    place: Pattern = (None,) if contract.form == "split" else (None, None)
    yield "boxes", contract.boxes, (*place, 4)
    yield "scores", contract.scores, place if contract.labels else (*place, classes)
    if contract.labels:
        yield "labels", contract.labels, place
