"""Every record of the streams as a typed struct: what happened, was counted, was kept, and why a verdict is what it is.

A record is MessagePack: a map with the fields' names and its kind. `messages` encodes and decodes them.
"""

from typing import Annotated, TypeAlias, get_args

import msgspec
from msgspec import Meta

from edge_protocol.codes import ClockState, Verdict
from edge_protocol.fields import Box, Count, Finite, Name, Natural, Text

MAX_EXPLAINED = 32
"""Things, places or features that one explanation names at most: the worst ones."""


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
    pipeline: Text = ""


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
