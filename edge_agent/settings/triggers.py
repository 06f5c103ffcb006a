"""The rows of `[[triggers]]`, a struct for each kind."""

from typing import Annotated, TypeAlias

from msgspec import Meta

from edge_agent.settings.table import Name, Positive, Table


class TimerTrigger(Table, frozen=True, kw_only=True, tag="timer", tag_field="kind"):
    """A part at a fixed rate."""

    name: Annotated[Name, Meta(description="name of the trigger")]
    rate_hz: Annotated[float, Meta(gt=0, le=1000, description="parts per second")]


class SourceTrigger(Table, frozen=True, kw_only=True, tag="source", tag_field="kind"):
    """A part whenever a source has one."""

    name: Annotated[Name, Meta(description="name of the trigger")]
    source: Annotated[Name, Meta(description="source that is asked")]
    poll_s: Annotated[Positive, Meta(description="time between two looks")] = 0.05


Trigger: TypeAlias = TimerTrigger | SourceTrigger
