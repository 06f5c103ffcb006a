"""The rows of `[[pipelines]]`, with the limits of their guards."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from edge_agent.settings.table import Name, Table
from edge_protocol.codes import Reason

Policy: TypeAlias = Literal["every", "latest", "sample"]
"""What becomes of parts that come faster than they are judged."""


class Guard(Table, frozen=True, kw_only=True):
    """When an input is not to be trusted, whatever a model says of it."""

    black_below: Annotated[float, Meta(ge=0, le=255, description="mean brightness that is black; 0: off")] = 12.0
    glare_above: Annotated[float, Meta(ge=0, le=1, description="share of white pixels that is glare; 1: off")] = 0.995
    blur_below: Annotated[float, Meta(ge=0, description="sharpness that is out of focus; 0: off")] = 0.0
    blur_share: Annotated[
        float, Meta(ge=0, le=1, description="share of the sharpness of nearly all good parts that is blur; 0: off")
    ] = 0.5
    colour_factor: Annotated[
        float, Meta(ge=0, le=100, description="factor beyond the good parts' colours that is a colour shift; 0: off")
    ] = 1.25
    placed_like: Annotated[
        Path | None, Meta(description="picture of a part in its place, for parts that lie alike; none: off")
    ] = None
    misplaced_above: Annotated[
        float, Meta(gt=0, le=0.5, description="shift against `placed_like` that is misplaced, in shares of the side")
    ] = 0.05
    frozen_after: Annotated[int, Meta(ge=0, le=1000, description="equal inputs in a row that are frozen; 0: off")] = 5
    duplicate_within: Annotated[
        int, Meta(ge=0, le=10_000, description="among so many inputs before it an equal one is a duplicate; 0: off")
    ] = 0
    stuck_above: Annotated[
        float, Meta(ge=0, le=1, description="share of a window without any change that is stuck; 1: off")
    ] = 0.5
    clipped_above: Annotated[
        float, Meta(ge=0, le=1, description="share of a window at its own extremes or `range` that is clipped; 1: off")
    ] = 0.4
    range: Annotated[tuple[float, float] | None, Meta(description="what the sensor can measure; none: not known")] = (
        None
    )
    dead_below: Annotated[float, Meta(ge=0, description="deviation of a window that is a dead sensor")] = 0.0
    missing_above: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="share of values filled in by a source that is a gap; 1: off; missing ones always are",
        ),
    ] = 0.0
    gap_s: Annotated[float, Meta(ge=0, description="time between two inputs that is a gap; 0: off")] = 0.0


LIMITS: dict[Reason, tuple[str, ...]] = {
    Reason.BLACK: ("black_below",),
    Reason.GLARE: ("glare_above",),
    Reason.COLOUR_SHIFT: ("colour_factor",),
    Reason.BLUR: ("blur_share", "blur_below"),
    Reason.MISPLACED: ("placed_like", "misplaced_above"),
    Reason.FROZEN: ("frozen_after",),
    Reason.DUPLICATE: ("duplicate_within",),
    Reason.STUCK: ("stuck_above",),
    Reason.CLIPPED: ("clipped_above", "range"),
    Reason.DEAD: ("dead_below",),
    Reason.GAP: ("missing_above", "gap_s"),
}
"""The keys of `Guard` that decide on a reason: what an operator changes where sound parts are refused for it."""


class Pipeline(Table, frozen=True, kw_only=True):
    """One model at one place of the line."""

    name: Annotated[Name, Meta(description="name of the pipeline")]
    bundle: Annotated[Name, Meta(description="folder of the bundle in `data_dir`/bundles")]
    source: Annotated[Name, Meta(description="where its samples come from")]
    trigger: Annotated[Name, Meta(description="what says that a part is there; pipelines may share it")]
    outputs: Annotated[tuple[Name, ...], Meta(description="who is told each verdict")] = ()
    deadline_ms: Annotated[
        float, Meta(ge=0, description="age at which a part's verdict comes too late; 0 for none")
    ] = 0.0
    policy: Annotated[
        Policy, Meta(description="`every` part holds up the line, the `latest` goes first, or a `sample` is judged")
    ] = "every"
    sample_every: Annotated[
        int, Meta(ge=1, le=100_000, description="with `sample`: of so many parts one is judged")
    ] = 10
    priority: Annotated[
        int, Meta(ge=0, le=9, description="which pipeline gets more of a short processor; 9: the most")
    ] = 5
    variant: Annotated[str, Meta(description="variant of the model to use; empty: chosen by the processor")] = ""
    guard: Annotated[Guard, Meta(description="limits of the guard, a table of its own")] = Guard()
