"""Bytes that the line sends come in, samples go out: what cannot be read is a sample with the fault and its cause.

Never evaluates, guesses or repairs: a null in a window stays a gap, and what has another length than agreed is refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from edge_agent.sample import Channel, Sample
from edge_protocol.codes import Reason

MAX_TEXT = 120
"""Longest name of a part, a product or a lot."""

MAX_NUMBERS = 1_000_000
"""Longest list of numbers, the longest window there is: while it is read each takes 40 bytes."""

Values: TypeAlias = npt.NDArray[np.float64]

_TEXTS = ("part", "product", "lot")
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_numbers = msgspec.json.Decoder(list[float | None] | float)
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str | int | None)
_count = msgspec.json.Decoder(Annotated[int, msgspec.Meta(ge=0, lt=2**62)] | None)


@dataclass(frozen=True, slots=True)
class Form:
    """What was agreed with the line: the channels in their order, and how many numbers each has (0: any)."""

    channels: Sequence[str]
    length: int


class _Unfit(Exception):
    """It is not what was agreed."""

    def __init__(self, problem: str, reason: Reason) -> None:
        super().__init__(problem)
        self.reason = reason


def read(kind: str, data: bytes, form: Form, mono_us: int) -> Sample:
    """The sample in `data`, which came at `mono_us`; `kind` is one of `KINDS`."""
    try:
        return KINDS[kind](data, form, mono_us)
    except _Unfit as error:
        return Sample(fault=error.reason, detail=str(error))


def read_names(data: bytes) -> dict[str, Any]:
    """Part, product, lot and number in a JSON object; empty for anything else."""
    try:
        raw = _object.decode(data)
        return _named(raw)
    except (*_BROKEN, _Unfit):
        return {}


def _json(data: bytes, form: Form, mono_us: int) -> Sample:
    try:
        raw = _object.decode(data)
        taken_us = _count.decode(raw["taken_us"]) if "taken_us" in raw else None
    except _BROKEN as error:
        problem = f"not a JSON object as agreed: {error}"
        raise _Unfit(problem, Reason.UNREADABLE) from error
    named = _named(raw)
    channels = {name: _values(name, raw, form.length, mono_us, taken_us) for name in form.channels}
    return Sample(channels, **named)


def _values(name: str, raw: dict[str, msgspec.Raw], length: int, mono_us: int, taken_us: int | None) -> Channel:
    if name not in raw:
        problem = f"there is no {name!r}, only {', '.join(raw)[:200] or 'nothing'}"
        raise _Unfit(problem, Reason.WRONG_SHAPE)
    if bytes(raw[name]).count(b",") >= MAX_NUMBERS:
        problem = f"{name!r} has more than {MAX_NUMBERS} numbers"
        raise _Unfit(problem, Reason.WRONG_SHAPE)
    try:
        numbers = _numbers.decode(raw[name])
    except _BROKEN as error:
        problem = f"{name!r} is neither a list of numbers nor a number: {error}"
        raise _Unfit(problem, Reason.UNREADABLE) from error
    is_list = isinstance(numbers, list)
    values = np.array(numbers if is_list else [numbers], np.float64)
    if is_list:
        _check_length(name, values.size, length)
    return Channel(values, mono_us, missing=int(np.isnan(values).sum()), taken_us=taken_us)


def _named(raw: dict[str, msgspec.Raw]) -> dict[str, Any]:
    """Part, product, lot and number, those that are there."""
    try:
        texts = {key: _text.decode(raw[key]) for key in _TEXTS if key in raw}
        number = _count.decode(raw["number"]) if "number" in raw else None
    except _BROKEN as error:
        problem = f"part, product and lot are texts, number is one: {error}"
        raise _Unfit(problem, Reason.UNREADABLE) from error
    named: dict[str, Any] = {key: str(text) for key, text in texts.items() if text is not None}
    if any(len(text) > MAX_TEXT for text in named.values()):
        problem = f"part, product and lot have at most {MAX_TEXT} characters"
        raise _Unfit(problem, Reason.UNREADABLE)
    return named if number is None else {**named, "number": number}


def _npy(data: bytes, form: Form, mono_us: int) -> Sample:
    """Left as it is: whoever decodes it knows the contract, and trusts its header as little."""
    return Sample({form.channels[0]: Channel(data, mono_us)})


def _float32(data: bytes, form: Form, mono_us: int) -> Sample:
    count = len(form.channels)
    if len(data) != 4 * count * form.length:
        problem = f"{len(data)} bytes, {count} × {form.length} floats have {4 * count * form.length}"
        raise _Unfit(problem, Reason.WRONG_SHAPE)
    rows: Values = np.frombuffer(data, "<f4").astype(np.float64).reshape(count, form.length)
    return Sample({name: Channel(row, mono_us) for name, row in zip(form.channels, rows, strict=True)})


def _image(data: bytes, _form: Form, mono_us: int) -> Sample:
    return Sample({"image": Channel(data, mono_us)})


def _check_length(name: str, size: int, length: int) -> None:
    if length and size != length:
        problem = f"{name!r} has {size} numbers, {length} were agreed"
        raise _Unfit(problem, Reason.WRONG_SHAPE)


KINDS: dict[str, Callable[[bytes, Form, int], Sample]] = {
    "json": _json,
    "npy": _npy,
    "float32": _float32,
    "image": _image,
}
"""What the line may send, and how it is read."""
