"""The rows of `[[triggers]]`, a struct for each kind."""

from pathlib import Path
from typing import Annotated, TypeAlias

from msgspec import Meta

from edge_agent.settings.table import BrokerUrl, Name, Positive, Table, Topic


class TimerTrigger(Table, frozen=True, kw_only=True, tag="timer", tag_field="kind"):
    """A part at a fixed rate."""

    name: Annotated[Name, Meta(description="name of the trigger")]
    rate_hz: Annotated[float, Meta(gt=0, le=1000, description="parts per second")]


class SourceTrigger(Table, frozen=True, kw_only=True, tag="source", tag_field="kind"):
    """A part whenever a source has one."""

    name: Annotated[Name, Meta(description="name of the trigger")]
    source: Annotated[Name, Meta(description="source that is asked")]
    poll_s: Annotated[Positive, Meta(description="time between two looks")] = 0.05


class MqttTrigger(Table, frozen=True, kw_only=True, tag="mqtt", tag_field="kind"):
    """A part for each message on a topic. A JSON object may name `part`, `product`, `lot` and a running `number`."""

    name: Annotated[Name, Meta(description="name of the trigger")]
    broker: Annotated[BrokerUrl, Meta(description="mqtt://host:port, or mqtts://host:port for TLS")]
    topic: Annotated[Topic, Meta(description="topic or filter it listens on, as line/4/part")]
    queue: Annotated[
        int, Meta(ge=1, le=1000, description="messages that may wait; of a full queue the oldest is a missed part")
    ] = 64
    poll_s: Annotated[Positive, Meta(description="time between two looks")] = 0.005
    ca_file: Annotated[Path | None, Meta(description="authority the broker's certificate must come from, PEM")] = None


Trigger: TypeAlias = TimerTrigger | SourceTrigger | MqttTrigger
