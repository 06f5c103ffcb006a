"""Batches: about a hundred records of one stream in one message, verdicts by column.

What comes in are rows; what goes out is one compressed body, and back. The same rows always make the same
bytes, so a batch that is sent again is the same batch. Never signs: `envelope` does.
"""

import math
from collections.abc import Sequence
from operator import attrgetter
from typing import Annotated, Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import zstandard
from msgspec import Meta

from edge_protocol.codes import Stream
from edge_protocol.errors import DecodeError
from edge_protocol.messages import SCHEMA, GatewayId, Name, Natural, Text, Time

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_ROWS = 5000
MAX_CONTEXTS = 256
MAX_TEXT_BYTES = 250
"""A part, product or lot above this travels cut: all of a batch are padded to the longest."""

LATENCY_UNIT_US = 100
"""Latency travels in tenths of a millisecond: u2 reaches 6.5 s, above which it says 65535."""

_LEVEL = 12
"""4 % less than level 3 for a tenth of a millisecond more."""

_LAST = 2**62
_FLOAT32_MAX = float(np.finfo(np.float32).max)

Digest: TypeAlias = Annotated[bytes, Meta(max_length=32)]


class Context(msgspec.Struct, array_like=True, frozen=True):
    """What judged: interned once a batch, pointed to by each of its verdicts. Digests are 32 bytes or empty.

    An empty `operating_point` is the bundle's own, which `digest` covers.
    """

    pipeline: Text
    bundle: Text = ""
    version: Text = ""
    digest: Digest = b""
    variant: Text = ""
    operating_point: Digest = b""


class _Row(msgspec.Struct, frozen=True):
    seq: int
    at_us: int


class VerdictRow(_Row, frozen=True):
    """One verdict. `context` is an index into the batch's contexts; `at_us` is UTC, `latency_us` trigger to verdict.

    `score` is None where nothing was judged. It travels as a 32-bit float, latency in steps of `LATENCY_UNIT_US`,
    texts without U+0000 and no longer than `MAX_TEXT_BYTES`: a line's odd part number must not hold up a verdict.
    """

    trigger: int
    context: int
    verdict: int
    reason: int
    score: float | None
    latency_us: int
    part: str = ""
    product: str = ""
    lot: str = ""


class RecordRow(_Row, frozen=True):
    """One record of any other stream: its bytes as `messages.encode` made them."""

    body: bytes


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Rows `first … first + count - 1` of a stream, all of one run of the clock."""

    gateway: str
    epoch: int
    stream: str
    time: Time
    config: bytes = b""
    contexts: tuple[Context, ...] = ()
    verdicts: tuple[VerdictRow, ...] = ()
    records: tuple[RecordRow, ...] = ()

    @property
    def rows(self) -> tuple[VerdictRow, ...] | tuple[RecordRow, ...]:
        """The rows, whichever kind they are."""
        return self.verdicts if self.stream == Stream.VERDICTS else self.records


class _Columns(msgspec.Struct, array_like=True, frozen=True):
    """One number per row each; by place, for their names would cost half a byte a verdict."""

    dt: bytes
    trigger: bytes = b""
    context: bytes = b""
    verdict: bytes = b""
    reason: bytes = b""
    score: bytes = b""
    latency: bytes = b""


_Text: TypeAlias = tuple[bytes, bytes]


class _Texts(msgspec.Struct, array_like=True, frozen=True):
    part: _Text = (b"", b"")
    product: _Text = (b"", b"")
    lot: _Text = (b"", b"")


class _Run(Time, array_like=True, frozen=True):
    """The time of a batch, by place."""


class _Wire(msgspec.Struct, array_like=True, frozen=True):
    schema: int
    gateway: GatewayId
    epoch: Natural
    stream: Name
    time: _Run
    config: Digest
    first: Annotated[int, Meta(ge=1, le=_LAST)]
    count: Annotated[int, Meta(ge=1, le=MAX_ROWS)]
    at_us: Natural
    trigger: Natural
    contexts: Annotated[tuple[Context, ...], Meta(max_length=MAX_CONTEXTS)]
    columns: _Columns
    texts: _Texts
    records: Annotated[tuple[bytes, ...], Meta(max_length=MAX_ROWS)]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Wire)

_COLUMNS = {
    "dt": ("<i4", "<i8"),
    "trigger": ("<i1", "<i4", "<i8"),
    "context": ("<u1",),
    "verdict": ("<u1",),
    "reason": ("<u1", "<u2"),
    "score": ("<f4",),
    "latency": ("<u2",),
}
"""Each column's widths, the narrowest that holds its values is taken; a reader knows it by the column's length."""

_TEXTS = _Texts.__struct_fields__


def encode(batch: Batch) -> bytes:
    """The compressed body of a batch.

    Raises:
        ValueError: no rows, too many, rows of the wrong kind, numbers out of their columns' bounds, sequence numbers
            that do not follow each other, or more than `MAX_BODY_BYTES` before compression.
    """
    rows = batch.rows
    _check(batch, rows)
    contexts = np.array([row.context for row in batch.verdicts])
    verdicts = [batch.verdicts[i] for i in _by_context(contexts)]
    at_us = [row.at_us for row in verdicts or rows]
    columns = {"dt": _steps(at_us), "context": contexts} | _to_columns(verdicts)
    packed = _Columns(**{name: _pack(name, values) for name, values in columns.items() if len(values)})
    texts = _Texts(*(_pack_text([_cut(getattr(row, name)) for row in verdicts]) for name in _TEXTS))
    first_trigger = verdicts[0].trigger if verdicts else 0
    records = tuple(row.body for row in batch.records)
    run = _Run(*msgspec.structs.astuple(batch.time))
    wire = _Wire(
        SCHEMA, batch.gateway, batch.epoch, batch.stream, run, batch.config, rows[0].seq, len(rows),
        at_us[0], first_trigger, batch.contexts, packed, texts, records,
    )  # fmt: skip
    raw = _encoder.encode(wire)
    if len(raw) > MAX_BODY_BYTES:
        message = f"a body of {len(raw)} bytes, at most {MAX_BODY_BYTES} are taken"
        raise ValueError(message)
    return zstandard.ZstdCompressor(level=_LEVEL).compress(raw)


def _by_context(contexts: npt.NDArray[Any]) -> list[int]:
    """The order of the columns: rows of one context together, for they are alike and follow each other evenly."""
    order: list[int] = np.argsort(contexts, kind="stable").tolist()
    return order


def _check(batch: Batch, rows: Sequence[_Row]) -> None:
    if not 0 < len(rows) <= MAX_ROWS or any(row.seq != rows[0].seq + i for i, row in enumerate(rows)):
        message = f"a batch holds 1 to {MAX_ROWS} rows with consecutive sequence numbers"
        raise ValueError(message)
    if batch.verdicts and batch.records:
        message = f"a batch of {batch.stream} holds verdicts or records, not both"
        raise ValueError(message)
    if len(batch.contexts) > MAX_CONTEXTS or any(row.context >= len(batch.contexts) for row in batch.verdicts):
        message = f"{len(batch.contexts)} contexts, of which each verdict must point to one and at most {MAX_CONTEXTS}"
        raise ValueError(message)
    numbers = [number for row in rows for number in (row.seq, row.at_us)] + [row.trigger for row in batch.verdicts]
    if rows[0].seq < 1 or not 0 <= min(numbers) <= max(numbers) <= _LAST:
        message = "a sequence number, time or trigger is out of bounds"
        raise ValueError(message)


def decode(body: bytes) -> Batch:
    """The batch in a body that came from outside.

    Raises:
        DecodeError: truncated, oversized, inconsistent or of a later schema major.
    """
    try:
        wire = _decoder.decode(_decompress(body))
    except (msgspec.MsgspecError, zstandard.ZstdError, RecursionError, ValueError) as error:
        message = f"not a batch: {error}"
        raise DecodeError(message) from error
    if wire.schema != SCHEMA:
        message = f"schema {wire.schema} of a batch is not known here; update this side"
        raise DecodeError(message)
    return _from_wire(wire)


def _decompress(body: bytes) -> bytes:
    size = zstandard.frame_content_size(body)
    if not 0 <= size <= MAX_BODY_BYTES:
        message = f"a body of {size} bytes, at most {MAX_BODY_BYTES} are taken"
        raise DecodeError(message)
    return zstandard.ZstdDecompressor().decompress(body, max_output_size=MAX_BODY_BYTES, allow_extra_data=False)


def _from_wire(wire: _Wire) -> Batch:
    at_us = _running(wire, "dt", wire.at_us)
    verdicts: tuple[VerdictRow, ...] = ()
    records: tuple[RecordRow, ...] = ()
    if wire.stream == Stream.VERDICTS:
        verdicts = _verdict_rows(wire, at_us)
    elif len(wire.records) == wire.count:
        records = tuple(
            RecordRow(wire.first + i, at, body) for i, (at, body) in enumerate(zip(at_us, wire.records, strict=True))
        )
    else:
        message = f"{len(wire.records)} records where {wire.count} were announced"
        raise DecodeError(message)
    time = Time(*msgspec.structs.astuple(wire.time))
    return Batch(
        gateway=wire.gateway, epoch=wire.epoch, stream=wire.stream, time=time, config=wire.config,
        contexts=wire.contexts, verdicts=verdicts, records=records,
    )  # fmt: skip


def _verdict_rows(wire: _Wire, at_us: list[int]) -> tuple[VerdictRow, ...]:
    contexts = _unpack(wire, "context")
    if contexts.max() >= len(wire.contexts):
        message = "a verdict points to a context that the batch does not have"
        raise DecodeError(message)
    order = _by_context(contexts)
    columns = zip(
        at_us,
        _running(wire, "trigger", wire.trigger),
        contexts[order].tolist(),
        _unpack(wire, "verdict").tolist(),
        _unpack(wire, "reason").tolist(),
        [score if math.isfinite(score) else None for score in _unpack(wire, "score").tolist()],
        (_unpack(wire, "latency") * LATENCY_UNIT_US).tolist(),
        *(_unpack_text(wire, name) for name in _TEXTS),
        strict=True,
    )
    rows = (VerdictRow(wire.first + n, *row) for n, row in zip(order, columns, strict=True))
    return tuple(sorted(rows, key=attrgetter("seq")))


def _to_columns(rows: Sequence[VerdictRow]) -> dict[str, npt.NDArray[Any]]:
    scores = np.array([math.nan if row.score is None else row.score for row in rows], np.float64)
    return {
        "trigger": _steps([row.trigger for row in rows]),
        "verdict": np.array([row.verdict for row in rows]),
        "reason": np.array([row.reason for row in rows]),
        "score": np.clip(scores, -_FLOAT32_MAX, _FLOAT32_MAX),
        "latency": np.array([min(max(row.latency_us, 0) // LATENCY_UNIT_US, 65535) for row in rows]),
    }


def _cut(text: str) -> bytes:
    """The bytes of a text without U+0000, which is the padding, and not above the limit, cut between characters."""
    raw = text.replace("\0", "").encode(errors="replace")
    return raw if len(raw) <= MAX_TEXT_BYTES else raw[:MAX_TEXT_BYTES].decode(errors="ignore").encode()


def _steps(values: list[int]) -> npt.NDArray[np.int64]:
    array = np.array(values, np.int64)
    return np.diff(array, prepend=array[:1])


def _pack(name: str, values: npt.NDArray[Any]) -> bytes:
    for dtype in map(np.dtype, _COLUMNS[name]):
        if dtype.kind == "f" or np.iinfo(dtype).min <= values.min() <= values.max() <= np.iinfo(dtype).max:
            # The bytes of equal weight lie together: the high ones hardly change and compress to nothing.
            return values.astype(dtype).view("u1").reshape(len(values), -1).T.tobytes()
    message = f"a number in column {name!r} does not fit {_COLUMNS[name][-1]}"
    raise ValueError(message)


def _running(wire: _Wire, name: str, start: int) -> list[int]:
    """The running sum of a column of steps from `start`; sums that ran over are out of bounds and refused."""
    sums = start + np.cumsum(_unpack(wire, name))
    if sums.min() < 0 or sums.max() > _LAST:
        message = f"column {name!r} leads out of bounds"
        raise DecodeError(message)
    numbers: list[int] = sums.tolist()
    return numbers


def _unpack(wire: _Wire, name: str) -> npt.NDArray[Any]:
    raw: bytes = getattr(wire.columns, name)
    for dtype in map(np.dtype, _COLUMNS[name]):
        if len(raw) == wire.count * dtype.itemsize:
            planes = np.frombuffer(raw, "u1").reshape(dtype.itemsize, wire.count)
            values = np.ascontiguousarray(planes.T).view(dtype).ravel()
            return values.astype(np.int64) if dtype.kind in "iu" else values
    message = f"column {name!r} holds {len(raw)} bytes, which is not {wire.count} values"
    raise DecodeError(message)


def _pack_text(values: list[bytes]) -> _Text:
    """Which rows have a text (a bit each, empty when all do) and the texts, padded to one width and by planes."""
    present = [value for value in values if value]
    if not present:
        return b"", b""
    mask = b"" if len(present) == len(values) else np.packbits([bool(value) for value in values]).tobytes()
    width = max(map(len, present))
    planes = np.frombuffer(b"".join(value.ljust(width, b"\0") for value in present), "u1")
    return mask, planes.reshape(len(present), width).T.tobytes()


def _unpack_text(wire: _Wire, name: str) -> list[str]:
    mask, planes = getattr(wire.texts, name)
    texts = [""] * wire.count
    if not planes:
        return texts
    bits = np.unpackbits(np.frombuffer(mask, "u1")) if mask else np.ones(wire.count, "u1")
    rows = np.flatnonzero(bits[: wire.count])
    if len(bits) < wire.count or not len(rows) or len(planes) % len(rows):
        message = f"texts {name!r} do not fit {wire.count} rows"
        raise DecodeError(message)
    width = len(planes) // len(rows)
    joined = np.frombuffer(planes, "u1").reshape(width, len(rows)).T.tobytes()
    for i, row in enumerate(rows.tolist()):
        text = joined[i * width : (i + 1) * width].rstrip(b"\0").decode(errors="replace")
        texts[row] = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return texts
