"""The rows of `[[outputs]]`, a struct for each kind."""

from pathlib import Path
from typing import Annotated, TypeAlias

from msgspec import Meta

from edge_agent.settings.table import BrokerUrl, Name, Positive, Table


class FileOutput(Table, frozen=True, kw_only=True, tag="file", tag_field="kind"):
    """A line of JSON per verdict, appended to a file. Rotate it by renaming: it is opened anew."""

    name: Annotated[Name, Meta(description="name of the output")]
    path: Annotated[Path, Meta(description="file to append to")]
    after_commit: Annotated[bool, Meta(description="tell the line only what is safe on disk")] = False


class MqttOutput(Table, frozen=True, kw_only=True, tag="mqtt", tag_field="kind"):
    """The last verdict retained on `<prefix>/<pipeline>/verdict`, a counter on `<prefix>/<pipeline>/heartbeat`."""

    name: Annotated[Name, Meta(description="name of the output")]
    broker: Annotated[BrokerUrl, Meta(description="mqtt://host:port, or mqtts://host:port for TLS")]
    prefix: Annotated[str, Meta(pattern=r"^[\w.-]+(/[\w.-]+)*$", description="first part of its topics")] = "line"
    heartbeat_s: Annotated[Positive, Meta(description="time between two counts; silence means reject")] = 1.0
    ca_file: Annotated[Path | None, Meta(description="authority the broker's certificate must come from, PEM")] = None
    after_commit: Annotated[bool, Meta(description="tell the line only what is safe on disk")] = False


Output: TypeAlias = FileOutput | MqttOutput
