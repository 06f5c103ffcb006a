"""Every message and record of the wire as a typed struct, and the one encoder and decoder for them.

A message is MessagePack: a map with the fields' names. Fields are only ever added, with a default, so an older
reader skips what it does not know. Times are UTC microseconds; `mono_us` counts from the machine's boot.
"""

from typing import Annotated, TypeAlias, TypeVar, get_args

import msgspec
from msgspec import Meta

from edge_protocol.codes import ClockState, Verdict
from edge_protocol.errors import DecodeError
from edge_protocol.ranges import Ranges, is_normal

SCHEMA = 1
MAX_MESSAGE_BYTES = 256 * 1024
"""A message above this is refused before it is parsed; a broker's default limit is 256 MB, ours is what we need."""

Natural: TypeAlias = Annotated[int, Meta(ge=0, le=2**62)]
"""A count, a number of a row or a time: it and a sum of two fit every database's integer."""

Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**40)]
"""A counter of one pane: a million of these still add up exactly."""

Finite: TypeAlias = Annotated[float, Meta(ge=-1e300, le=1e300)]
Text: TypeAlias = Annotated[str, Meta(pattern=r"\A[^\0]*\Z")]
"""Any text but one with U+0000, which PostgreSQL does not store."""

Name: TypeAlias = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9-]{0,39}\Z")]
"""A stream or a kind of record; these also stand in topics."""

GatewayId: TypeAlias = Annotated[str, Meta(pattern=r"\A[a-z0-9-]{1,40}\Z")]

Digest: TypeAlias = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
"""A SHA-256 in hex."""

BLOCK_BYTES = 64 * 1024
MAX_WANT_BYTES = 16 * BLOCK_BYTES

MAX_EXPLAINED = 32
"""Things, places or features that one explanation names at most: the worst ones."""

Box: TypeAlias = tuple[Finite, Finite, Finite, Finite]
"""Left, top, right and bottom."""

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


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """Base of what waits in the outbox and travels in batches; verdicts are columnar and not among these."""


class Gap(Record, frozen=True, kw_only=True, tag="gap"):
    """Records `first…last` of a stream that will never arrive, and why: the declared part of the account."""

    epoch: Natural
    stream: Name
    first: Natural
    last: Natural
    reason: Text


class Started(Record, frozen=True, kw_only=True, tag="started"):
    """The agent began to run; `clean` tells whether the run before it ended by being asked to."""

    agent_version: Text
    clean: bool
    recovered: Natural = 0
    clock: ClockState = ClockState.OK


class Stopped(Record, frozen=True, kw_only=True, tag="stopped"):
    """The agent was asked to stop and did."""

    reason: Text = ""


class Uncertain(Record, frozen=True, kw_only=True, tag="uncertain"):
    """After a power cut: triggers in this interval may have been answered on the line without a record."""

    from_us: Natural
    to_us: Natural
    first_trigger: Natural
    last_trigger: Natural
    reason: Text


class Fault(Record, frozen=True, kw_only=True, tag="fault"):
    """Something in the agent or around it is wrong or right again: a source, an output, the disk, the clock."""

    part: Text
    name: Text
    reason: Text
    active: bool
    detail: Text = ""


class Label(Record, frozen=True, kw_only=True, tag="label"):
    """What a person or a later station says a part really was."""

    epoch: Natural
    trigger: Natural
    pipeline: Text
    verdict: Verdict
    actor: Text
    note: Text = ""
    part: Text = ""


class Capture(Record, frozen=True, kw_only=True, tag="capture"):
    """An input that was kept: its digest, why it was chosen and with which probability it would have been."""

    epoch: Natural
    trigger: Natural
    pipeline: Text
    digest: Text
    length: Natural
    reason: Text
    inclusion_probability: Annotated[float, Meta(ge=0, le=1)]


class Outcome(Record, frozen=True, kw_only=True, tag="outcome"):
    """One attempt of an output to tell the line a verdict."""

    epoch: Natural
    trigger: Natural
    output: Text
    ok: bool
    latency_us: Natural = 0
    detail: Text = ""


class Update(Record, frozen=True, kw_only=True, tag="update"):
    """A step of a pipeline's update. `refusal` and `detail` say why, when it was refused or given back.

    `digest`, `bundle` and `version` are what was wanted; empty when what came could not be trusted at all.
    """

    pipeline: Text
    step: Text
    bundle: Text = ""
    version: Text = ""
    digest: Text = ""
    rollout: Text = ""
    refusal: Text = ""
    detail: Text = ""
    actor: Text = ""


class Adjusted(Record, frozen=True, kw_only=True, tag="adjusted"):
    """A pipeline judges by another operating point from now on; by its bundle's own where no `digest` is given.

    With a `refusal` it is not judged by, and what held still holds.
    """

    pipeline: Text
    bundle: Text = ""
    name: Text = ""
    version: Text = ""
    digest: Text = ""
    refusal: Text = ""
    detail: Text = ""


class Pane(Record, frozen=True, kw_only=True, tag="pane"):
    """Exact counters of one pipeline between two cuts: `counts[signal]` on the edges of the reference `reference`."""

    pipeline: Text
    bundle: Text
    reference: Text
    opened_us: Natural
    closed_us: Natural
    n: Natural
    counts: dict[Text, tuple[Count, ...]]


class Metrics(Record, frozen=True, kw_only=True, tag="metrics"):
    """Numbers of the agent at one moment, by name; units are in the names."""

    values: dict[Text, float]


class ExplainedDetection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A thing that was seen, its place in pixels of the source, and the zones whose rule it breaks."""

    label: Text
    score: Finite
    box: Box
    zones: Annotated[tuple[Text, ...], Meta(max_length=MAX_EXPLAINED)] = ()


class ExplainedRegion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A place that was found: its area in mm² where the scale is known, else pixels, its highest value, and its box."""

    area: Finite
    peak: Finite
    box: Box
    label: Text = ""


class ExplainedFeature(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A feature or signal of a window: its value, and the percentile of the good ones that it lies beyond.

    From 50 up: above so many per cent of the good ones; below 50: above at most so many. `part` is what it adds to the
    score where the model tells.
    """

    name: Text
    value: Finite
    percentile: Annotated[float, Meta(ge=0, le=100)] | None = None
    part: Finite | None = None


class Explanation(Record, frozen=True, kw_only=True, tag="explanation"):
    """Why a verdict is what it is, in numbers: what was seen where, and which features stand out most.

    `zones` are those whose rule is broken, also where nothing was seen that should have been.
    """

    epoch: Natural
    trigger: Natural
    pipeline: Text
    label: Text = ""
    score: Finite | None = None
    zones: Annotated[tuple[Text, ...], Meta(max_length=MAX_EXPLAINED)] = ()
    detections: Annotated[tuple[ExplainedDetection, ...], Meta(max_length=MAX_EXPLAINED)] = ()
    regions: Annotated[tuple[ExplainedRegion, ...], Meta(max_length=MAX_EXPLAINED)] = ()
    reasons: Annotated[tuple[ExplainedFeature, ...], Meta(max_length=MAX_EXPLAINED)] = ()


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """A record of a kind this version does not know, kept as it came."""

    kind: str
    raw: bytes


class _Kind(msgspec.Struct):
    """What can be read of a record of any kind."""

    kind: Name


AnyRecord: TypeAlias = (
    Gap
    | Started
    | Stopped
    | Uncertain
    | Fault
    | Label
    | Capture
    | Outcome
    | Update
    | Adjusted
    | Pane
    | Metrics
    | Explanation
)
KINDS: dict[str, type[Record]] = {str(record.__struct_config__.tag): record for record in get_args(AnyRecord)}

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
