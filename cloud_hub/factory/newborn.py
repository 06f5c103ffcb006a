"""A foreign ONNX model comes in, the draft of a bundle goes out: what its graph says, what it suggests, what is open.

Nothing that only the trainer knows is made up: it stands as a sentence in its place, and no agent takes the draft.
"""

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from cloud_hub.errors import FactoryError
from cloud_hub.factory.guesses import Guess, Note, guess_input, guess_output, open_point, pairs, sides_of
from edge_agent.errors import InferenceError
from edge_agent.inference import graph as reading
from edge_agent.inference.graph import Graph, Value
from edge_protocol.bundle import MANIFEST
from edge_protocol.manifest import DRAFT

MODEL = "model.onnx"
GOLDENS = "FILL IN: one or more inputs with known answers: cloud-hub bundle golden FOLDER INPUT --verdict OK"

_NAMES = ("names", "classes", "labels")
_IMAGE_RANK = 4
_SCALARS = ("sr", "rate", "length", "size")


@dataclass(frozen=True, slots=True)
class Newborn:
    """A draft: its manifest as JSON would have it, and a note on each thing that was read, guessed or left open."""

    manifest: dict[str, Any]
    notes: tuple[Note, ...]


def write_draft(model: Path, folder: Path, name: str) -> Newborn:
    """Write the draft of a bundle called `name` to `folder`, which must not be there yet.

    Raises:
        FactoryError: no model that stands alone, or something is in the way.
    """
    try:
        content = model.read_bytes()
        newborn = draft(content, name, model.name)
        folder.mkdir(parents=True)
        (folder / MODEL).write_bytes(content)
        (folder / MANIFEST).write_text(json.dumps(newborn.manifest, indent=2, ensure_ascii=False) + "\n")
    except FileExistsError as error:
        message = f"{folder} is there already"
        raise FactoryError(
            message, "name another folder with --out: a draft that was begun is not overwritten"
        ) from error
    except OSError as error:
        message = f"{error.filename}: {error.strerror}"
        raise FactoryError(message, "name a file that can be read and a folder that can be made") from error
    return newborn


def draft(content: bytes, name: str, origin: str) -> Newborn:
    """The draft of a model's bytes.

    Raises:
        FactoryError: it is no ONNX model, wants files beside it, or has operators that no gateway knows.
    """
    try:
        graph = reading.read(content)
        reading.check(graph)
    except InferenceError as error:
        message = f"{origin}: {error}"
        raise FactoryError(message, error.hint) from error
    weights = {weight.name for weight in graph.weights}
    graph.inputs = [value for value in graph.inputs if value.name not in weights]
    states, constants, main = _sort(graph)
    names = _class_names(content)
    source = guess_input(main, graph, is_stateful=bool(states))
    carried = {after.name for _, after in states}
    output = guess_output([value for value in graph.outputs if value.name not in carried], graph, source.task, names)
    notes = [*_facts(graph), *source.notes, *output.notes]
    dimensions = _dimensions(graph, main, notes)
    task = output.task or open_point("the task that goes with the output")
    manifest = _manifest(name, task, source, output, content)
    manifest["states"] = [_state(before, after, notes) for before, after in states]
    manifest["constants"] = [_constant(value) for value in constants]
    manifest["dimensions"] = dimensions
    manifest["lineage"] = {"drafted from": f"{origin} sha256 {hashlib.sha256(content).hexdigest()}"}
    return Newborn(manifest, (*notes, *(Note(where, "fill in", text) for where, text in open_points(manifest))))


def open_points(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """What is still to be filled in, with its place."""
    if isinstance(value, str) and value.startswith("FILL IN"):
        yield where, value.removeprefix("FILL IN").lstrip(": ")
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from open_points(each, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for n, each in enumerate(value):
            yield from open_points(each, f"{where}[{n}]")


def _sort(graph: Graph) -> tuple[list[tuple[Value, Value]], list[Value], Value]:
    """States, constants, and the input that gets the sample: of those left a picture, else the first with sides."""
    states = list(pairs(graph)) if len(graph.inputs) > 1 else []
    held = {before.name for before, _ in states}
    left = [value for value in graph.inputs if value.name not in held]
    if not left:
        message = "the graph has no input for a sample"
        raise FactoryError(message, "export it with the sample as an input")
    ranks = {value.name: len(value.shape or ()) for value in left}
    order = {v.name: (ranks[v.name] == _IMAGE_RANK, ranks[v.name] > 1, v.dtype.startswith("float")) for v in left}
    main = max(left, key=lambda value: (order[value.name], -left.index(value)))
    return states, [value for value in left if value is not main], main


def _facts(graph: Graph) -> Iterator[Note]:
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in graph.opsets.items())
    yield Note("graph", "read", f"opset {opsets}; {len(graph.nodes)} operators, none of them unknown; no external data")
    if any(node.op.startswith("TreeEnsemble") for node in graph.nodes):
        yield Note("graph", "read", "a tree ensemble: it has no arithmetic in integers")
    if any(node.op == "QuantizeLinear" for node in graph.nodes):
        yield Note("variants", "guessed", "fp32, but the graph is quantized: name the variant after its arithmetic")
    for value in graph.inputs:
        yield Note(f"input {value.name}", "read", f"{value.dtype} {list(sides_of(value))}")
    for value in graph.outputs:
        yield Note(f"output {value.name}", "read", f"{value.dtype or 'no tensor: export without ZipMap'} "
                   f"{list(sides_of(value))}")  # fmt: skip


def _dimensions(graph: Graph, main: Value, notes: list[Note]) -> dict[str, int | str]:
    """Sides that have a name and one meaning. The first of the sample's is its number, which is one."""
    found: dict[str, int | str] = {}
    places = [side for value in graph.inputs for side in value.shape or () if isinstance(side, str) and side]
    for value in [main, *(each for each in graph.inputs if each is not main)]:
        for axis, side in enumerate(value.shape or ()):
            # What stands at two places of one input means two things, as `?`: the tensors fix it without us.
            if (
                not isinstance(side, str)
                or side in found
                or side in ("", "?")
                or list(value.shape or ()).count(side) > 1
            ):
                continue
            found[side] = 1 if axis == 0 or value is not main else open_point(f"side {axis} of {value.name}")
            if found[side] == 1:
                notes.append(Note(f"dimensions.{side}", "guessed", "1: one sample at a time"))
    return {side: length for side, length in found.items() if side in places}


def _state(before: Value, after: Value, notes: list[Note]) -> dict[str, Any]:
    sides = sides_of(before)
    notes.append(
        Note(f"states {before.name}", "guessed", f"{after.name} is what {before.name} becomes, by name and sides")
    )
    shape = [side if isinstance(side, int) else 1 for side in sides]
    if any(isinstance(side, str) for side in sides):
        notes.append(Note(f"states {before.name}", "guessed", f"its open sides are 1: {shape}"))
    return {"input": before.name, "output": after.name, "shape": shape, "dtype": before.dtype}


def _constant(value: Value) -> dict[str, Any]:
    shape = [side if isinstance(side, int) else 1 for side in sides_of(value)]
    hint = ", as [16000]" if value.name.lower() in _SCALARS else ""
    values = open_point(f"what the graph is to be given as {value.name} each time, a list{hint}")
    return {"input": value.name, "values": values, "shape": shape, "dtype": value.dtype}


def _class_names(content: bytes) -> Mapping[int, str]:
    """Class names that the file itself lists, as exporters do: a list, or a dictionary by number."""
    metadata = {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}
    for key in _NAMES:
        try:
            found = ast.literal_eval(metadata[key])
        except (KeyError, ValueError, SyntaxError):
            continue
        if isinstance(found, list | tuple):
            found = dict(enumerate(found))
        if isinstance(found, dict) and all(isinstance(name, str) for name in found.values()):
            return {int(number): name for number, name in found.items()}
    return {}


def _manifest(name: str, task: str, source: Guess, output: Guess, content: bytes) -> dict[str, Any]:
    features = [each for each in (task, source.value.get("resize")) if each and not each.startswith("FILL IN")]
    return {
        "schema": 1,
        "name": name,
        "version": "0.1.0",
        "requires": [DRAFT, *features],
        "task": task,
        "input": source.value,
        "output": output.value,
        "operating_point": {
            "accept": open_point("score below which a part is OK"),
            "reject": open_point("score from which a part is NG; between the two is REVIEW"),
        },
        "variants": [{"name": "fp32", "file": MODEL}],
        "files": {MODEL: {"sha256": hashlib.sha256(content).hexdigest(), "length": len(content)}},
        "goldens": GOLDENS,
        "objective": open_point("what the model is for, in one sentence"),
        "capture": "none",
        "licences": [{"what": "model", "licence": open_point("SPDX id, or not stated")}],
    }
