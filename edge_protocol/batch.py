"""Batches: about a hundred records of one stream in one message, verdicts by column.

What comes in are rows; what goes out is one compressed body, and back. The same rows always make the same
bytes, so a batch that is sent again is the same batch. Never signs: `envelope` does.
"""

from typing import Any

import msgspec
import numpy as np
import zstandard

from edge_protocol.codes import Stream
from edge_protocol.errors import DecodeError
from edge_protocol.messages import SCHEMA, Time

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_ROWS = 5000
LATENCY_UNIT_US = 100
"""Latency travels in tenths of a millisecond: u2 reaches 6.5 s, above which it says 65535."""

_LEVEL = 3


class Context(msgspec.Struct, frozen=True):
    """What judged: interned once a batch, pointed to by each of its verdicts. Digests are 32 bytes or empty."""

    pipeline: str
    bundle: str = ""
    version: str = ""
    digest: bytes = b""
    variant: str = ""
    operating_point: bytes = b""


class VerdictRow(msgspec.Struct, frozen=True):
    """One verdict. `context` is an index into the batch's contexts; `at_us` is UTC, `latency_us` trigger to verdict.

    `score` is None where nothing was judged. It travels as a 32-bit float, latency in steps of `LATENCY_UNIT_US`.
    """

    seq: int
    at_us: int
    trigger: int
    context: int
    verdict: int
    reason: int
    score: float | None
    latency_us: int
    part: str = ""
    product: str = ""
    lot: str = ""


class RecordRow(msgspec.Struct, frozen=True):
    """One record of any other stream: its bytes as `messages.encode` made them."""

    seq: int
    at_us: int
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


class _Wire(msgspec.Struct, array_like=True, frozen=True):
    schema: int
    gateway: str
    epoch: int
    stream: str
    time: Time
    config: bytes
    first: int
    count: int
    at_us: int
    trigger: int
    contexts: tuple[Context, ...]
    columns: dict[str, bytes]
    texts: dict[str, tuple[bytes, bytes]]
    records: tuple[bytes, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Wire)

_COLUMNS = {
    "dt": ("<i4", "<i8"),
    "trigger": ("<i4", "<i8"),
    "context": ("<u1",),
    "verdict": ("<u1",),
    "reason": ("<u2",),
    "score": ("<f4",),
    "latency": ("<u2",),
}
"""Each column's widths, the narrowest that holds its values is taken; a reader knows it by the column's length."""

_TEXTS = ("part", "product", "lot")
_NARROW_MAX = 2**31 - 1


def encode(batch: Batch) -> bytes:
    """The compressed body of a batch.

    Raises:
        ValueError: no rows, too many, or sequence numbers that do not follow each other.
    """
    rows = batch.rows
    if not 0 < len(rows) <= MAX_ROWS or any(row.seq != rows[0].seq + i for i, row in enumerate(rows)):
        message = f"a batch holds 1 to {MAX_ROWS} rows with consecutive sequence numbers"
        raise ValueError(message)
    columns, texts = _to_columns(batch.verdicts) if batch.verdicts else ({"dt": _pack("dt", _steps([row.at_us for row in rows]))}, {})
    wire = _Wire(
        SCHEMA, batch.gateway, batch.epoch, batch.stream, batch.time, batch.config, rows[0].seq, len(rows),
        rows[0].at_us, batch.verdicts[0].trigger if batch.verdicts else 0, batch.contexts, columns, texts, tuple(row.body for row in batch.records),
    )  # fmt: skip
    return zstandard.ZstdCompressor(level=_LEVEL).compress(_encoder.encode(wire))


def decode(body: bytes) -> Batch:
    """The batch in a body that came from outside.

    Raises:
        DecodeError: truncated, oversized, inconsistent or of a later schema major.
    """
    try:
        size = zstandard.frame_content_size(body)
        if not 0 <= size <= MAX_BODY_BYTES:
            message = f"a body of {size} bytes, at most {MAX_BODY_BYTES} are taken"
            raise DecodeError(message)
        wire = _decoder.decode(zstandard.ZstdDecompressor().decompress(body, max_output_size=MAX_BODY_BYTES))
    except (msgspec.MsgspecError, zstandard.ZstdError, RecursionError, ValueError) as error:
        message = f"not a batch: {error}"
        raise DecodeError(message) from error
    if wire.schema != SCHEMA:
        message = f"schema {wire.schema} of a batch is not known here; update this side"
        raise DecodeError(message)
    if not 0 < wire.count <= MAX_ROWS or not 0 < wire.first < 2**62 or not 0 <= wire.at_us < 2**62:
        message = f"a batch of {wire.count} rows from {wire.first}"
        raise DecodeError(message)
    return _from_wire(wire)


def _from_wire(wire: _Wire) -> Batch:
    at_us = (wire.at_us + np.cumsum(_unpack(wire, "dt"))).tolist()
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
    return Batch(
        gateway=wire.gateway, epoch=wire.epoch, stream=wire.stream, time=wire.time, config=wire.config,
        contexts=wire.contexts, verdicts=verdicts, records=records,
    )  # fmt: skip


def _verdict_rows(wire: _Wire, at_us: list[int]) -> tuple[VerdictRow, ...]:
    context = _unpack(wire, "context").tolist()
    if max(context) >= len(wire.contexts):
        message = "a verdict points to a context that the batch does not have"
        raise DecodeError(message)
    texts = [_unpack_text(wire, name) for name in _TEXTS]
    columns = zip(
        at_us,
        (wire.trigger + np.cumsum(_unpack(wire, "trigger"))).tolist(),
        context,
        _unpack(wire, "verdict").tolist(),
        _unpack(wire, "reason").tolist(),
        [None if score != score else score for score in _unpack(wire, "score").tolist()],  # noqa: PLR0124 (NaN)
        (_unpack(wire, "latency") * LATENCY_UNIT_US).tolist(),
        strict=True,
    )
    return tuple(
        VerdictRow(wire.first + i, *row, *(text[i] for text in texts)) for i, row in enumerate(columns)
    )


def _to_columns(rows: tuple[VerdictRow, ...]) -> tuple[dict[str, bytes], dict[str, tuple[bytes, bytes]]]:
    latency = np.array([row.latency_us for row in rows], np.int64) // LATENCY_UNIT_US
    columns = {
        "dt": _pack("dt", _steps([row.at_us for row in rows])),
        "trigger": _pack("trigger", _steps([row.trigger for row in rows])),
        "context": _pack("context", [row.context for row in rows]),
        "verdict": _pack("verdict", [row.verdict for row in rows]),
        "reason": _pack("reason", [row.reason for row in rows]),
        "score": _pack("score", [np.nan if row.score is None else row.score for row in rows]),
        "latency": _pack("latency", np.clip(latency, 0, 65535)),
    }
    texts = {name: _pack_text([getattr(row, name).encode() for row in rows]) for name in _TEXTS}
    return columns, {name: pair for name, pair in texts.items() if pair[1]}


def _steps(values: list[int]) -> Any:
    array = np.array(values, np.int64)
    return np.diff(array, prepend=array[0])


def _pack(name: str, values: Any) -> bytes:
    array = np.asarray(values)
    narrow, *wide = _COLUMNS[name]
    dtype = wide[0] if wide and np.abs(array).max() > _NARROW_MAX else narrow
    typed = array.astype(dtype)
    # The bytes of equal weight lie together: the high ones hardly change and compress to nothing.
    return typed.view("u1").reshape(len(typed), -1).T.tobytes()


def _unpack(wire: _Wire, name: str) -> Any:
    raw = wire.columns.get(name, b"")
    for dtype in map(np.dtype, _COLUMNS[name]):
        if len(raw) == wire.count * dtype.itemsize:
            planes = np.frombuffer(raw, "u1").reshape(dtype.itemsize, wire.count)
            values = np.ascontiguousarray(planes.T).view(dtype).ravel()
            return values.astype(np.int64) if dtype.kind in "iu" else values
    message = f"column {name!r} holds {len(raw)} bytes, which is not {wire.count} values"
    raise DecodeError(message)


def _pack_text(values: list[bytes]) -> tuple[bytes, bytes]:
    """Which rows have a text (a bit each, empty when all do) and the texts, padded to one width and by planes."""
    present = [value for value in values if value]
    mask = b"" if len(present) == len(values) else np.packbits([bool(value) for value in values]).tobytes()
    width = max(map(len, present), default=0)
    planes = np.frombuffer(b"".join(value.ljust(width, b"\0") for value in present), "u1")
    return mask, planes.reshape(len(present), width).T.tobytes()


def _unpack_text(wire: _Wire, name: str) -> list[str]:
    mask, planes = wire.texts.get(name, (b"", b""))
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
        texts[row] = joined[i * width : (i + 1) * width].rstrip(b"\0").decode(errors="replace")
    return texts
