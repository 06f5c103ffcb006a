"""The tables of the gateway's TOML as typed structs, each key with its limits, its default and what it means.

Pure data: `config` reads and checks them, and each part of the agent receives its own table, never the whole.
"""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from edge_agent.settings.gateway import Gateway, Hub, Identity, Monitoring, Serving, Store, Updates
from edge_agent.settings.outputs import FileOutput, HttpOutput, MqttOutput, Output
from edge_agent.settings.pipelines import Guard, Pipeline, Policy
from edge_agent.settings.sources import (
    CameraSource,
    FolderSource,
    MqttSource,
    PushSource,
    RecordedSource,
    ReplaySource,
    Source,
    VideoSource,
)
from edge_agent.settings.table import BrokerUrl, Name, Positive, Table
from edge_agent.settings.triggers import MqttTrigger, SourceTrigger, TimerTrigger, Trigger

__all__ = [
    "BrokerUrl",
    "CameraSource",
    "FileOutput",
    "FolderSource",
    "Gateway",
    "Guard",
    "HttpOutput",
    "Hub",
    "Identity",
    "Monitoring",
    "MqttOutput",
    "MqttSource",
    "MqttTrigger",
    "Name",
    "Output",
    "Pipeline",
    "Policy",
    "Positive",
    "PushSource",
    "RecordedSource",
    "ReplaySource",
    "Serving",
    "Source",
    "SourceTrigger",
    "Store",
    "Table",
    "Tables",
    "TimerTrigger",
    "Trigger",
    "Updates",
    "VideoSource",
]


class Tables(Table, frozen=True, kw_only=True):
    """The whole file."""

    gateway: Annotated[Gateway, Meta(description="[gateway]: the one table that must be there")]
    schema: Annotated[Literal[1], Meta(description="version of this file's form")] = 1
    data_dir: Annotated[Path, Meta(description="where the gateway keeps everything it makes")] = Path("data")
    identity: Annotated[Identity, Meta(description="[identity]: files of its identity")] = Identity()
    hub: Annotated[Hub | None, Meta(description="[hub]: the way to the hub; without it the gateway works alone")] = None
    store: Annotated[Store, Meta(description="[store]: the database of records")] = Store()
    serving: Annotated[Serving, Meta(description="[serving]: metrics and health over local HTTP")] = Serving()
    monitoring: Annotated[Monitoring, Meta(description="[monitoring]: counters that show drift")] = Monitoring()
    updates: Annotated[Updates, Meta(description="[updates]: models that come from the hub")] = Updates()
    sources: Annotated[tuple[Source, ...], Meta(description="[[sources]]: where samples come from")] = ()
    triggers: Annotated[tuple[Trigger, ...], Meta(description="[[triggers]]: what says that a part is there")] = ()
    pipelines: Annotated[tuple[Pipeline, ...], Meta(description="[[pipelines]]: models at work")] = ()
    outputs: Annotated[tuple[Output, ...], Meta(description="[[outputs]]: who is told the verdicts")] = ()
