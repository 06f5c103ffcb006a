"""Every message and record of the wire as a typed struct, and the one encoder and decoder for them.

A message is MessagePack: a map with the fields' names. Fields are only ever added, with a default, so an older
reader skips what it does not know. Times are UTC microseconds; `mono_us` counts from the machine's boot.
"""

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from edge_protocol.codes import ClockState
from edge_protocol.errors import DecodeError
from edge_protocol.fields import Box, Count, Digest, Finite, GatewayId, Name, Natural, Text
from edge_protocol.ranges import Ranges, is_normal
from edge_protocol.records import (
    KINDS,
    MAX_EXPLAINED,
    Adjusted,
    AnyRecord,
    Capture,
    ExplainedDetection,
    ExplainedFeature,
    ExplainedRegion,
    Explanation,
    Fault,
    Gap,
    Label,
    Metrics,
    Outcome,
    Pane,
    Record,
    Started,
    Stopped,
    Uncertain,
    Unknown,
    Update,
)

__all__ = [
    "BLOCK_BYTES",
    "KINDS",
    "MAX_EXPLAINED",
    "MAX_MESSAGE_BYTES",
    "MAX_WANT_BYTES",
    "SCHEMA",
    "Adjusted",
    "AnyRecord",
    "Block",
    "Box",
    "Capture",
    "Count",
    "Digest",
    "ExplainedDetection",
    "ExplainedFeature",
    "ExplainedRegion",
    "Explanation",
    "Fault",
    "Finite",
    "Gap",
    "GatewayId",
    "GatewayState",
    "Label",
    "Link",
    "Message",
    "Metrics",
    "Name",
    "Natural",
    "Outcome",
    "Pane",
    "PipelineState",
    "Place",
    "Receipt",
    "Record",
    "Started",
    "Stopped",
    "StreamAccount",
    "Text",
    "Time",
    "Uncertain",
    "Unknown",
    "Update",
    "Want",
    "decode",
    "decode_record",
    "encode",
]

SCHEMA = 1
MAX_MESSAGE_BYTES = 256 * 1024
"""A message above this is refused before it is parsed; a broker's default limit is 256 MB, ours is what we need."""

BLOCK_BYTES = 64 * 1024
MAX_WANT_BYTES = 16 * BLOCK_BYTES

T = TypeVar("T")


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of what is sent on a topic of its own."""

    schema: int = 1
    """Absent on the wire means 1, also to a reader of later schemas."""


def _check_ranges(**fields: Ranges) -> None:
    for name, ranges in fields.items():
        if not is_normal(ranges):
            message = f"{name}: ranges must ascend from 1 without touching"
            raise ValueError(message)


class Time(msgspec.Struct, frozen=True):
    """The pair that ties a gateway's monotonic time to its wall clock, for one uninterrupted run of that clock."""

    boot: Text
    run: Natural
    wall_us: Natural
    mono_us: Natural
    clock: ClockState = ClockState.OK


class StreamAccount(msgspec.Struct, frozen=True):
    """One stream of one epoch as its gateway sees it: 1…produced were made, `held` are on its disk without receipt."""

    epoch: Natural
    stream: Name
    produced: Natural
    held: Ranges = ()
    declared: Ranges = ()

    def __post_init__(self) -> None:
        _check_ranges(held=self.held, declared=self.declared)


class PipelineState(msgspec.Struct, frozen=True):
    """A pipeline's running totals since the gateway's database was made. Latencies in milliseconds."""

    name: Text
    model: Text = ""
    version: Text = ""
    digest: Text = ""
    variant: Text = ""
    triggers: Natural = 0
    verdicts: dict[Text, Natural] = {}
    p50_ms: Finite = 0.0
    p99_ms: Finite = 0.0
    ready: bool = False
    wanted: Text = ""
    """Digest of what this pipeline should run and does not yet, or was refused."""
    step: Text = ""
    """Where that update stands: a step of `updates`."""
    refusal: Text = ""
    """Why it was refused or given back, by name."""
    operating_point: Text = ""
    """Digest of the signed file whose operating point it judges by; empty: its bundle's own."""


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a gateway stands and what it is labelled with."""

    tenant: Text = "default"
    enterprise: Text = ""
    site: Text = ""
    area: Text = ""
    line: Text = ""
    cell: Text = ""
    timezone: Text = "UTC"
    labels: dict[Text, Text] = {}


class GatewayState(Message, frozen=True, kw_only=True):
    """`up/state`, signed and retained: who the gateway is, what runs there and what it has to account for."""

    gateway: GatewayId
    agent_version: Text
    place: Place
    time: Time
    sent_us: Natural
    streams: tuple[StreamAccount, ...] = ()
    pipelines: tuple[PipelineState, ...] = ()
    features: tuple[Text, ...] = ()
    config_digest: Text = ""
    arch: Text = ""
    cpu_flags: tuple[Text, ...] = ()
    """Those that choose a variant; the hub assigns no bundle that has none for this processor."""


class Want(Message, frozen=True, kw_only=True):
    """`up/want`, signed: bytes `offset…offset + length` of an object, to be sent as blocks."""

    sha256: Digest
    offset: Natural
    length: Annotated[int, Meta(ge=1, le=MAX_WANT_BYTES)]


class Block(Message, frozen=True, kw_only=True):
    """`down/block`: a piece of an object. Not signed: whoever wanted it knows the digest of the whole.

    `total` is the length of the object; 0 says that the hub does not have it.
    """

    sha256: Digest
    offset: Natural
    total: Natural
    data: bytes = b""


class Link(Message, frozen=True, kw_only=True):
    """`up/link`: online or not, left as the broker's last will. A hint, never evidence: it is not signed."""

    online: bool


class Receipt(Message, frozen=True, kw_only=True):
    """`down/receipt`, signed by the hub: what it has committed, and which identities came with other bytes.

    `committed` is all it has of the stream. `answers` are the numbers in the messages that this receipt answers: the
    hub compared those byte by byte, so of those, and only of those, the gateway may delete what is committed and not
    among the `conflicts`. A restored disk may have given the other numbers to other rows.
    """

    gateway: GatewayId
    epoch: Natural
    stream: Name
    committed: Ranges = ()
    conflicts: Ranges = ()
    hub_us: Natural = 0
    answers: Ranges = ()

    def __post_init__(self) -> None:
        _check_ranges(committed=self.committed, conflicts=self.conflicts, answers=self.answers)


class _Kind(msgspec.Struct):
    """What can be read of a record of any kind."""

    kind: Name


_encoder = msgspec.msgpack.Encoder()
_records: msgspec.msgpack.Decoder[AnyRecord] = msgspec.msgpack.Decoder(AnyRecord)
_kinds = msgspec.msgpack.Decoder(_Kind)


def encode(message: msgspec.Struct) -> bytes:
    """The bytes of a message or record."""
    return _encoder.encode(message)


def decode(kind: type[T], payload: bytes) -> T:
    """The message in `payload`.

    Raises:
        DecodeError: not such a message, above `MAX_MESSAGE_BYTES`, or of a later schema major.
    """
    if len(payload) > MAX_MESSAGE_BYTES:
        message = f"{len(payload)} bytes are above the limit of {MAX_MESSAGE_BYTES}"
        raise DecodeError(message)
    try:
        result = msgspec.msgpack.decode(payload, type=kind)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        message = f"not a {kind.__name__}: {error}"
        raise DecodeError(message) from error
    schema = getattr(result, "schema", SCHEMA)
    if schema != SCHEMA:
        message = f"schema {schema} of {kind.__name__} is not known here; update this side"
        raise DecodeError(message)
    return result


def decode_record(payload: bytes) -> "AnyRecord | Unknown":
    """The record in `payload`; one of an unknown kind comes back as `Unknown`, with its bytes.

    Raises:
        DecodeError: not a record at all, or one of a known kind with wrong fields.
    """
    try:
        return _records.decode(payload)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        kind = _kind_of(payload)
        if kind is not None and kind not in KINDS:
            return Unknown(kind=kind, raw=payload)
        message = f"not a record: {error}"
        raise DecodeError(message) from error


def _kind_of(payload: bytes) -> str | None:
    try:
        return _kinds.decode(payload).kind
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
