"""Every message and record of the wire as a typed struct, and the one encoder and decoder for them.

A message is MessagePack: a map with the fields' names. Fields are only ever added, with a default, so an older
reader skips what it does not know. Times are UTC microseconds; `mono_us` counts from the machine's boot.
"""

from typing import Any, TypeVar

import msgspec

from edge_protocol.codes import ClockState, Verdict
from edge_protocol.errors import DecodeError
from edge_protocol.ranges import Ranges

SCHEMA = 1
MAX_MESSAGE_BYTES = 256 * 1024
"""A message above this is refused before it is parsed; a broker's default limit is 256 MB, ours is what we need."""

T = TypeVar("T")


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of what is sent on a topic of its own."""

    schema: int = SCHEMA


class Time(msgspec.Struct, frozen=True):
    """The pair that ties a gateway's monotonic time to its wall clock, for one uninterrupted run of that clock."""

    boot: str
    run: int
    wall_us: int
    mono_us: int
    clock: ClockState = ClockState.OK


class StreamAccount(msgspec.Struct, frozen=True):
    """One stream of one epoch as its gateway sees it: 1…produced were made, `held` are on its disk without receipt."""

    epoch: int
    stream: str
    produced: int
    held: Ranges = ()
    declared: Ranges = ()


class PipelineState(msgspec.Struct, frozen=True):
    """A pipeline's running totals since the gateway's database was made. Latencies in milliseconds."""

    name: str
    model: str = ""
    version: str = ""
    digest: str = ""
    variant: str = ""
    triggers: int = 0
    verdicts: dict[str, int] = {}
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    ready: bool = False


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a gateway stands and what it is labelled with."""

    tenant: str = "default"
    enterprise: str = ""
    site: str = ""
    area: str = ""
    line: str = ""
    cell: str = ""
    timezone: str = "UTC"
    labels: dict[str, str] = {}


class GatewayState(Message, frozen=True, kw_only=True):
    """`up/state`, signed and retained: who the gateway is, what runs there and what it has to account for."""

    gateway: str
    agent_version: str
    place: Place
    time: Time
    sent_us: int
    streams: tuple[StreamAccount, ...] = ()
    pipelines: tuple[PipelineState, ...] = ()
    features: tuple[str, ...] = ()
    config_digest: str = ""


class Link(Message, frozen=True, kw_only=True):
    """`up/link`: online or not, left as the broker's last will. A hint, never evidence: it is not signed."""

    online: bool


class Receipt(Message, frozen=True, kw_only=True):
    """`down/receipt`, signed by the hub: what it has committed, and which identities came with other bytes.

    `committed` is all it has of the stream. `answers` are the numbers in the messages that this receipt answers: the
    hub compared those byte by byte, so of those, and only of those, the gateway may delete what is committed and not
    among the `conflicts`. A restored disk may have given the other numbers to other rows.
    """

    gateway: str
    epoch: int
    stream: str
    committed: Ranges = ()
    conflicts: Ranges = ()
    hub_us: int = 0
    answers: Ranges = ()


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """Base of what waits in the outbox and travels in batches; verdicts are columnar and not among these."""


class Gap(Record, frozen=True, kw_only=True, tag="gap"):
    """Records `first…last` of a stream that will never arrive, and why: the declared part of the account."""

    epoch: int
    stream: str
    first: int
    last: int
    reason: str


class Started(Record, frozen=True, kw_only=True, tag="started"):
    """The agent began to run; `clean` tells whether the run before it ended by being asked to."""

    agent_version: str
    clean: bool
    recovered: int = 0
    clock: ClockState = ClockState.OK


class Stopped(Record, frozen=True, kw_only=True, tag="stopped"):
    """The agent was asked to stop and did."""

    reason: str = ""


class Uncertain(Record, frozen=True, kw_only=True, tag="uncertain"):
    """After a power cut: triggers in this interval may have been answered on the line without a record."""

    from_us: int
    to_us: int
    first_trigger: int
    last_trigger: int
    reason: str


class Fault(Record, frozen=True, kw_only=True, tag="fault"):
    """Something in the agent or around it is wrong or right again: a source, an output, the disk, the clock."""

    part: str
    name: str
    reason: str
    active: bool
    detail: str = ""


class Label(Record, frozen=True, kw_only=True, tag="label"):
    """What a person or a later station says a part really was."""

    epoch: int
    trigger: int
    pipeline: str
    verdict: Verdict
    actor: str
    note: str = ""
    part: str = ""


class Capture(Record, frozen=True, kw_only=True, tag="capture"):
    """An input that was kept: its digest, why it was chosen and with which probability it would have been."""

    epoch: int
    trigger: int
    pipeline: str
    digest: str
    length: int
    reason: str
    inclusion_probability: float


class Outcome(Record, frozen=True, kw_only=True, tag="outcome"):
    """One attempt of an output to tell the line a verdict."""

    epoch: int
    trigger: int
    output: str
    ok: bool
    latency_us: int = 0
    detail: str = ""


class Pane(Record, frozen=True, kw_only=True, tag="pane"):
    """Exact counters of one pipeline between two cuts: `counts[signal]` on the edges of the reference `reference`."""

    pipeline: str
    bundle: str
    reference: str
    opened_us: int
    closed_us: int
    n: int
    counts: dict[str, tuple[int, ...]]


class Metrics(Record, frozen=True, kw_only=True, tag="metrics"):
    """Numbers of the agent at one moment, by name; units are in the names."""

    values: dict[str, float]


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """A record of a kind this version does not know, kept as it came."""

    kind: str
    raw: bytes


AnyRecord = (
    Gap | Started | Stopped | Uncertain | Fault | Label | Capture | Outcome | Pane | Metrics
)
KINDS = {
    record.__struct_config__.tag: record
    for record in (Gap, Started, Stopped, Uncertain, Fault, Label, Capture, Outcome, Pane, Metrics)
}

_encoder = msgspec.msgpack.Encoder()
_records = msgspec.msgpack.Decoder(AnyRecord)


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
        fields: Any = msgspec.msgpack.decode(payload)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
    kind = fields.get("kind") if isinstance(fields, dict) else None
    return kind if isinstance(kind, str) else None
