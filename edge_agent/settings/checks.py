"""Rows that are each well formed and still cannot be meant: out come the problem and the cure, before anything opens.

Looks at no file and no network: what only they can tell is told when a row's part is made.
"""

import ipaddress
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from edge_agent.settings.gateway import Serving
from edge_agent.settings.outputs import HttpOutput, MqttOutput, Output
from edge_agent.settings.pipelines import Pipeline
from edge_agent.settings.sources import CameraSource, MqttSource, PushSource, RecordedSource, Source
from edge_agent.settings.triggers import MqttTrigger, Trigger
from edge_protocol.topics import check_filter

Problems: TypeAlias = Iterator[tuple[str, str]]

SINGLE = (CameraSource, MqttSource, PushSource)
"""Sources of which there can be one at a time: a second one would take the first one's device, messages or port."""


def problems(
    sources: tuple[Source, ...],
    triggers: tuple[Trigger, ...],
    pipelines: tuple[Pipeline, ...],
    outputs: tuple[Output, ...],
) -> Problems:
    """What is wrong with the rows, worst first."""
    for section, rows in (("sources", sources), ("triggers", triggers), ("outputs", outputs)):
        for row in rows:
            for check in _CHECKS.get(type(row), ()):
                for problem, cure in check(row):
                    yield f"[[{section}]] {row.name!r}: {problem}", cure
    yield from _shared(sources, pipelines)
    yield from _transports(sources)
    yield from _ports(sources)


def door_problems(table: Serving, sources: tuple[Source, ...]) -> Problems:
    """What is wrong with where neighbours may ask."""
    if not is_loopback(table.host) and table.token_file is None:
        problem = f"[serving] host {table.host} is reached by other machines, and there is no token"
        yield problem, "write one into a file and name it as `token_file`, or take 127.0.0.1"
    for source in (source for source in sources if isinstance(source, PushSource) and source.port):
        if source.port == table.port:
            yield f"[[sources]] {source.name!r}: [serving] listens on port {table.port}", "give each a port of its own"


def _shared(sources: tuple[Source, ...], pipelines: tuple[Pipeline, ...]) -> Problems:
    for source in (source for source in sources if isinstance(source, SINGLE)):
        triggers = sorted({each.trigger for each in pipelines if each.source == source.name})
        if len(triggers) > 1:
            problem = f"[[sources]] {source.name!r}: the triggers {' and '.join(triggers)} would each open it"
            yield problem, "let the pipelines that look at it share one trigger"


def _transports(sources: tuple[Source, ...]) -> Problems:
    cameras = [each for each in sources if isinstance(each, CameraSource) and each.url.startswith("rtsp")]
    if len({camera.transport for camera in cameras}) > 1:
        problem = f"[[sources]] {cameras[0].name!r}: all cameras of a gateway have one `transport`"
        yield problem, "write the same for each"


def _ports(sources: tuple[Source, ...]) -> Problems:
    taken: dict[int, str] = {}
    for source in (source for source in sources if isinstance(source, PushSource) and source.port):
        if (other := taken.setdefault(source.port, source.name)) != source.name:
            yield f"[[sources]] {source.name!r}: {other!r} listens on port {source.port}", "give each a port of its own"


def _camera(row: CameraSource) -> Problems:
    if "://" in row.url and "@" in urlsplit(row.url).netloc:
        yield (
            "its URL holds a user or a password",
            "write the user as `user`, the password into a file: `password_file`",
        )
    if row.password_file is not None and not row.user:
        yield "it has a password and no user", "write `user`"
    if row.user and "://" not in row.url:
        yield f"{row.url} is a device, and devices ask for no user", "leave `user` and `password_file` out"
    if "://" in row.url and (row.width or row.height or row.rate_hz or row.pixels):
        yield "only a device is asked for a format", "set width, height, rate and pixels at the camera itself"


def _recorded(row: RecordedSource) -> Problems:
    if row.path.suffix not in {".csv", ".npz", ".npy"}:
        yield f"{row.path.name} is neither .csv, .npz nor .npy", "name the file so, or save the recording as one"
    if row.columns and row.channels and len(row.columns) != len(row.channels):
        yield f"{len(row.columns)} columns and {len(row.channels)} channels", "name one channel for each column"
    if row.time_column and row.path.suffix != ".csv":
        yield "only a .csv has a column with times", "leave `time_column` out: `rate_hz` says it"


def _channels(row: MqttSource | PushSource) -> Problems:
    if len(set(row.channels)) != len(row.channels):
        yield "two channels have the same name", "name each once"


def _payload(row: MqttSource) -> Problems:
    if row.payload == "float32" and not row.length:
        yield "raw floats do not say how many there are", "write `length`"
    if row.payload == "npy" and len(row.channels) > 1:
        yield "a .npy file is one channel", "name one channel, or take json"


def _push(row: PushSource) -> Problems:
    if not is_loopback(row.host) and row.token_file is None:
        yield f"whoever reaches {row.host} could send parts", "write a token into a file and name it as `token_file`"


def _token(row: HttpOutput) -> Problems:
    parts = urlsplit(row.url)
    if row.token_file is not None and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        yield "its token could be read on the way", "take an https:// URL"
    if row.ca_file is not None and parts.scheme == "http":
        yield "without TLS there is no certificate to check", "take an https:// URL, or leave `ca_file` out"


def _topic(row: MqttSource | MqttTrigger) -> Problems:
    try:
        check_filter(row.topic)
    except ValueError as error:
        yield str(error), "write it as line/4/part, line/+/part or line/#"


def _broker(row: Any) -> Problems:
    yield from _port(row.broker)
    if row.ca_file is not None and row.broker.startswith("mqtt:"):
        yield "without TLS there is no certificate to check", "take an mqtts:// URL, or leave `ca_file` out"


def _url(row: CameraSource | HttpOutput) -> Problems:
    if "://" in row.url:
        yield from _port(row.url)


def _port(url: str) -> Problems:
    try:
        urlsplit(url).port  # noqa: B018 (it is read to see whether it can be)
    except ValueError as error:
        yield f"{url}: {error}", "a port is a number below 65536"


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@lru_cache(64)
def is_here(host: str) -> bool:
    """Whether the `Host` of a request means this very machine.

    A page in a browser here can make a name of its own mean 127.0.0.1: by that name it is told, and gives, nothing.
    """
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return is_loopback(name.strip("[]").lower())


_CHECKS: dict[type, tuple[Callable[[Any], Problems], ...]] = {
    CameraSource: (_camera, _url),
    RecordedSource: (_recorded,),
    MqttSource: (_channels, _payload, _topic, _broker),
    PushSource: (_channels, _push),
    MqttTrigger: (_topic, _broker),
    MqttOutput: (_broker,),
    HttpOutput: (_token, _url),
}
