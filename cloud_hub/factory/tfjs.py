"""A TensorFlow.js graph model comes in, its nodes and weights as plain values go out. Runs nothing of it.

The model is one JSON file, nodes and a list of weights, and one binary file, the weights one after the other.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cloud_hub.errors import FactoryError

Array = npt.NDArray[Any]

_STORED = {"float32": "<f4", "float16": "<f2", "int32": "<i4", "bool": "|b1"}
_HINT = "take the model's two files again from where they come from"


@dataclass(frozen=True, slots=True)
class Node:
    """One operation: its kind, the names of what it takes, and its attributes as the file has them."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def integers(self, name: str) -> list[int]:
        """A list of whole numbers, as strides."""
        return [int(value) for value in self.attributes[name]["list"].get("i", [])]

    def text(self, name: str) -> str:
        """A word, as the padding."""
        return base64.b64decode(self.attributes[name]["s"]).decode()

    def texts(self, name: str) -> list[str]:
        """A list of words, as the operations fused into this one."""
        return [base64.b64decode(value).decode() for value in self.attributes[name]["list"].get("s", [])]

    def is_set(self, name: str) -> bool:
        """A flag; one that is not there is not set."""
        return bool(self.attributes.get(name, {}).get("b", False))


@dataclass(frozen=True, slots=True)
class Network:
    """The graph: nodes by name in the order of the file, constants by name, and the shape of each input."""

    nodes: Mapping[str, Node]
    weights: Mapping[str, Array]
    inputs: Mapping[str, tuple[int, ...]]

    def needed(self, outputs: list[str]) -> list[Node]:
        """The nodes that `outputs` depend on, each after those it takes."""
        order: dict[str, Node] = {}
        waiting = list(outputs)
        while waiting:
            node = self.nodes[waiting[-1]]
            missing = [name for name in node.inputs if name not in order and name not in self.weights]
            if node.name in order or not missing:
                order[waiting.pop()] = node
            else:
                waiting += missing
        return list(order.values())


def read_network(graph: Path, weights: Path) -> Network:
    """The network in a model's JSON file and its binary file.

    Raises:
        FactoryError: they cannot be read, are of another format, or do not belong together.
    """
    try:
        model = json.loads(graph.read_bytes())
        nodes = [_node(entry) for entry in model["modelTopology"]["node"]]
        constants = _constants(model["weightsManifest"], weights.read_bytes())
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{graph.name} and {weights.name} are not a model of TensorFlow.js: {error}"
        raise FactoryError(message, _HINT) from error
    inputs = {
        node.name: tuple(int(side["size"]) for side in node.attributes["shape"]["shape"]["dim"])
        for node in nodes
        if node.kind == "Placeholder"
    }
    return Network({node.name: node for node in nodes if node.kind != "Const"}, constants, inputs)


def _node(entry: dict[str, Any]) -> Node:
    # `name:0` is the first output of `name`; what begins with ^ only says what runs before.
    inputs = tuple(name.removesuffix(":0") for name in entry.get("input", []) if not name.startswith("^"))
    return Node(entry["name"], entry["op"], inputs, entry.get("attr", {}))


def _constants(manifest: list[dict[str, Any]], content: bytes) -> dict[str, Array]:
    constants: dict[str, Array] = {}
    offset = 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        stored = np.dtype(_STORED[entry.get("quantization", entry)["dtype"]])
        count = int(np.prod(entry["shape"]))
        values = np.frombuffer(content, stored, count, offset).reshape(entry["shape"])
        constants[entry["name"]] = values.astype(entry["dtype"])
        offset += values.nbytes
    if offset != len(content):
        message = f"the weights take {offset} bytes, the file has {len(content)}"
        raise ValueError(message)
    return constants
