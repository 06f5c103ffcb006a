"""The rows of `[[outputs]]`, a struct for each kind."""

from pathlib import Path
from typing import Annotated, TypeAlias

from msgspec import Meta

from edge_agent.settings.table import BrokerUrl, HttpUrl, Name, Positive, Table


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


class HttpOutput(Table, frozen=True, kw_only=True, tag="http", tag_field="kind"):
    """A POST of JSON per verdict to a URL, in order, tried again until it is taken or too old."""

    name: Annotated[Name, Meta(description="name of the output")]
    url: Annotated[HttpUrl, Meta(description="where to: http:// or https://, without user and password")]
    token_file: Annotated[Path | None, Meta(description="file with the token to show as `Authorization: Bearer`")] = (
        None
    )
    ca_file: Annotated[Path | None, Meta(description="authority the server's certificate must come from, PEM")] = None
    timeout_s: Annotated[Positive, Meta(description="longest an attempt may wait for the other side")] = 5.0
    backoff_s: Annotated[Positive, Meta(description="longest pause between two attempts")] = 10.0
    give_up_s: Annotated[
        Positive, Meta(description="age at which a verdict is no longer tried; its outcome says so")
    ] = 60.0
    queue: Annotated[
        int, Meta(ge=1, le=100_000, description="verdicts that may wait; beyond that the newest fails")
    ] = 1000
    after_commit: Annotated[bool, Meta(description="tell the line only what is safe on disk")] = False


Output: TypeAlias = FileOutput | MqttOutput | HttpOutput
