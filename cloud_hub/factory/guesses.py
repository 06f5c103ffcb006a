"""What a graph says of its inputs and outputs comes in, the contract that fits it best goes out; what is open is said.

Names and shapes are hints and no more: each guess is told with its reason, and what no graph can say is a person's.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_agent.inference.graph import Graph, Shape, Value

FILL_IN = "FILL IN: "
"""What begins so is for a person to replace."""

_AFFIX = re.compile(
    r"^(?:in|out|input|output|new|next|prev|past|present)[_.]|[_.]?(?:in|out|input|output|new|next|prev|past|present|n|\d+)$"
)
_DTYPES = ("float32", "float64", "uint8", "int32", "int64")
_CHANNELS = (1, 3)
_IMAGE_RANK, _SEQUENCE_RANK = 4, 3
_BOX, _PACKED = 4, 6
_LONG = 64
_ANOMALY = ("anomal", "score", "prob", "dist")
_SPREAD = {"Softmax": "none", "Sigmoid": "none"}


@dataclass(frozen=True, slots=True)
class Note:
    """What is said of a field: `read` in the graph, `guessed` from it, or left open (`fill in`), and why."""

    field: str
    how: str
    text: str


@dataclass(slots=True)
class Guess:
    """A part of a manifest as JSON would have it, and the notes on it."""

    value: dict[str, Any] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    task: str = ""

    def note(self, where: str, how: str, text: str) -> None:
        """Say something of a field."""
        self.notes.append(Note(where, how, text))


def open_point(what: str) -> str:
    """A placeholder that says what belongs in its place."""
    return f"{FILL_IN}{what}"


def sides_of(value: Value) -> Shape:
    """The sides, a side of which nothing is known as an empty name."""
    return tuple("" if (isinstance(side, int) and side < 1) or side == "?" else side for side in value.shape or ())


def stem(name: str) -> str:
    """What is left of a name without what says in or out, old or new: `state` of `stateN`, `h` of `h0`."""
    text = name.lower()
    while (shorter := _AFFIX.sub("", text, count=1)) not in ("", text):
        text = shorter
    return text


def pairs(graph: Graph) -> Iterator[tuple[Value, Value]]:
    """Inputs and outputs that look like one state before and after: of equal stem, type and sides."""
    for before in graph.inputs:
        for after in graph.outputs:
            if stem(before.name) == stem(after.name) and _fit(before, after):
                yield before, after


def _fit(before: Value, after: Value) -> bool:
    one, two = sides_of(before), sides_of(after)
    same = all(a == b or isinstance(a, str) or isinstance(b, str) for a, b in zip(one, two, strict=False))
    return before.dtype == after.dtype and len(one) == len(two) > 1 and same


def guess_input(value: Value, graph: Graph, *, is_stateful: bool) -> Guess:
    """The contract of the input that gets the sample."""
    sides = sides_of(value)
    guess = Guess()
    channels = next((axis for axis in (1, 3) if len(sides) == _IMAGE_RANK and sides[axis] in _CHANNELS), None)
    if value.dtype not in _DTYPES:
        guess.note("input.dtype", "fill in", f"the graph takes {value.dtype or 'no tensor'}: export it with float32")
    if channels is not None:
        _image(guess, value, sides, channels, graph)
    elif is_stateful or (len(sides) == _SEQUENCE_RANK and 1 in sides[1:] and _is_long(sides[-1])):
        _window(guess, value, sides, is_stateful=is_stateful)
    else:
        guess.task = "tensor"
        shape = [1, *sides[1:]] if sides and isinstance(sides[0], str) else list(sides)
        guess.value = {"kind": "tensor", "tensor": value.name, "dtype": value.dtype, "shape": [_side(s) for s in shape]}
        guess.note("input.kind", "guessed", f"tensor: {list(sides)} is no picture; a window if it is one of a signal")
    return guess


def _image(guess: Guess, value: Value, sides: Shape, channels: int, graph: Graph) -> None:
    guess.task = "image"
    height, width = (sides[axis] for axis in ((2, 3) if channels == 1 else (1, 2)))
    guess.value = {
        "kind": "image",
        "tensor": value.name,
        "width": _side(width, "width in pixels that the graph is to run with"),
        "height": _side(height, "height in pixels that the graph is to run with"),
        "layout": "nchw" if channels == 1 else "nhwc",
        "dtype": value.dtype,
        "colour": "rgb" if sides[channels] == _CHANNELS[1] else "gray",
        "geometry": "stretch",
        "resize": "area-pyramid",
    }
    guess.note("input.kind", "guessed", f"image: {list(sides)} has {sides[channels]} channels at place {channels}")
    guess.note("input.colour", "guessed", "OpenCV trains in bgr, most others in rgb: only the trainer knows")
    guess.note("input.geometry, resize", "guessed", "must be as in training: letterbox and linear are usual too")
    if value.dtype == "uint8" or _normalises(value.name, graph):
        guess.note("input.mean, std", "read", "none: the graph takes grey levels or normalises them itself")
    else:
        count = sides[channels]
        for name in ("mean", "std"):
            guess.value[name] = open_point(f"{count} numbers in grey levels 0…255, as [123.675, …]; x/255 is std 255")


def _normalises(tensor: str, graph: Graph) -> bool:
    """Whether the first thing done to the tensor is to subtract or divide."""
    first = next((node.op for node in graph.nodes if tensor in node.inputs), "")
    return first in ("Sub", "Div", "BatchNormalization")


def _window(guess: Guess, value: Value, sides: Shape, *, is_stateful: bool) -> None:
    guess.task = "window"
    guess.value = {
        "kind": "window",
        "tensor": value.name,
        "length": _side(sides[-1] if sides else "", "values in a window"),
        "rate_hz": open_point("samples per second of the signal"),
        "features": "raw",
        "dtype": value.dtype,
    }
    if len(sides) == _SEQUENCE_RANK:
        guess.value["shape"] = [1, *(_side(side) for side in sides[1:])]
    reason = "the graph carries a state from one to the next" if is_stateful else f"{list(sides)} is one long row"
    guess.note("input.kind", "guessed", f"window: {reason}")
    guess.note(
        "input.mean, std", "guessed", "none: give one number a value if the graph was trained on standardised ones"
    )


def guess_output(outputs: Sequence[Value], graph: Graph, source: str, names: Mapping[int, str]) -> Guess:
    """The contract of the outputs, of `source` image, window or tensor; `names` are classes the file itself lists."""
    by_rank = {value.name: len(sides_of(value)) for value in outputs}
    if any(not value.dtype for value in outputs):
        outputs = [value for value in outputs if value.dtype] or outputs
    guess = _detection(outputs, names) if source == "image" and len(outputs) > 1 else None
    if guess is None:
        # Of several the probabilities are meant, which come after a label in what scikit-learn exports.
        main = next((v for v in outputs if v.dtype.startswith("float")), outputs[0])
        guess = (
            _segmentation(main, names) if by_rank[main.name] == _IMAGE_RANK else _numbers(main, graph, source, names)
        )
    return guess


def _detection(outputs: Sequence[Value], names: Mapping[int, str]) -> Guess | None:
    guess = Guess(task="detection")
    last = {value.name: (sides_of(value) or ("",))[-1] for value in outputs}
    boxes = next((v for v in outputs if last[v.name] == _BOX), None)
    rest = [value for value in outputs if value is not boxes]
    if boxes is None:
        return None
    is_heat = all(len(sides_of(value)) == _IMAGE_RANK for value in (boxes, rest[0]))
    scores = next((v for v in rest if "score" in v.name.lower() or "conf" in v.name.lower()), rest[0])
    labels = next(
        (v for v in rest if v is not scores and ("label" in v.name.lower() or "class" in v.name.lower())), None
    )
    guess.value = {"kind": "detection", "boxes": boxes.name, "scores": scores.name}
    guess.value["form"] = "centernet" if is_heat else "split"
    if labels is not None:
        guess.value["labels"] = labels.name
    guess.value["classes"] = _classes(guess, names, last[scores.name] if labels is None else "")
    guess.note("output", "guessed", f"{boxes.name} ends in {_BOX}: boxes; {scores.name} their scores")
    guess.note("output.corners, units", "guessed", "xyxy in pixels of the tensor; else cxcywh, or shares")
    return guess


def _segmentation(main: Value, names: Mapping[int, str]) -> Guess:
    guess = Guess(task="segmentation")
    channels = sides_of(main)[1]
    guess.value = {"kind": "segmentation", "masks": main.name, "activation": "sigmoid" if channels == 1 else "softmax"}
    guess.value["classes"] = _classes(guess, names, channels)
    guess.value["anomalous"] = open_point("those of classes that must not be there")
    guess.note("output", "guessed", f"{main.name} {list(sides_of(main))} is a map for each class")
    guess.note("output.activation", "guessed", "none if the graph ends in one already")
    return guess


def _numbers(main: Value, graph: Graph, source: str, names: Mapping[int, str]) -> Guess:
    sides = sides_of(main)
    last = sides[-1] if len(sides) > 1 else 1
    if len(sides) > 2 and last == _PACKED and source == "image":
        guess = Guess(task="detection")
        guess.value = {"kind": "detection", "form": "packed", "boxes": main.name, "classes": _classes(guess, names, "")}
        guess.note("output", "guessed", f"{main.name} ends in {_PACKED}: x1 y1 x2 y2 score class")
        return guess
    if len(sides) > 2 or (source == "image" and last == 1):
        guess = Guess(task="")
        guess.value = {"kind": open_point("image-anomaly, classification, detection, segmentation or regression")}
        guess.note(
            "output", "fill in", f"{main.name} {list(sides)} is the output of no task here: reduce it in the graph"
        )
        return guess
    if last == 1:
        return _one_number(main, source)
    guess = Guess(task=f"{source}-classification")
    maker = _maker(main.name, graph)
    is_tree = maker.startswith("Tree")
    activation = _SPREAD.get(maker, "none" if is_tree else "softmax")
    guess.value = {"kind": "classification", "probabilities": main.name, "activation": activation}
    guess.value["classes"] = _classes(guess, names, last)
    guess.value["anomalous"] = open_point("those of classes that make a part NG")
    guess.note("output", "guessed", f"{main.name} {list(sides)} has a number for each of {last} classes")
    told = "read" if maker in _SPREAD else "guessed"
    guess.note("output.activation", told, f"{activation}: {main.name} is what {maker or 'the graph'} gives")
    return guess


def _maker(name: str, graph: Graph) -> str:
    """The operator that makes a value, behind whatever only passes it on."""
    while node := next((each for each in graph.nodes if name in each.outputs), None):
        if node.op != "Identity" or not node.inputs:
            return node.op
        name = node.inputs[0]
    return ""


def _one_number(main: Value, source: str) -> Guess:
    if any(word in main.name.lower() for word in _ANOMALY):
        guess = Guess({"kind": "window-anomaly", "score": main.name}, task=f"{source}-anomaly")
        guess.note("output", "guessed", f"{main.name} is one number, by its name an anomaly's: higher is worse")
        return guess
    guess = Guess({"kind": "regression", "value": main.name, "unit": open_point("of the value, as h or mm")})
    guess.task = f"{source}-regression"
    guess.value["worse"] = open_point("high or low")
    guess.note("output", "guessed", f"{main.name} is one number; {source}-anomaly if higher is worse in itself")
    return guess


def _classes(guess: Guess, names: Mapping[int, str], count: int | str) -> list[str] | str:
    if names and count in ("", len(names)) and len(set(names.values())) == len(names):
        guess.note("output.classes", "read", f"{len(names)} names in the file's metadata")
        return [names[number] for number in sorted(names)]
    return open_point(f"{count if isinstance(count, int) else 'the'} names in a list, in the order of their numbers")


def _side(side: int | str, what: str = "") -> int | str:
    return side if isinstance(side, int) else open_point(what or f"the side that the graph calls {side or 'nothing'}")


def _is_long(side: int | str) -> bool:
    return isinstance(side, str) or side >= _LONG
