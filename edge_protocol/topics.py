"""Every topic is built and parsed here, nowhere else; `build` and `parse` are inverse of each other.

lineside/v1/g/<shard>/<gateway>/up/<name>       gateway → hub
lineside/v1/g/<shard>/<gateway>/down/<name>     hub → gateway
lineside/v1/fleet/models                        hub → all gateways
"""

import hashlib
import re
from enum import StrEnum
from typing import NamedTuple

from edge_protocol.errors import DecodeError

ROOT = "lineside/v1"
FLEET_MODELS = f"{ROOT}/fleet/models"
MAX_TOPIC_BYTES = 512
"""Ours are below 100; brokers take up to 65535."""

SHARDS = tuple(f"{n:02x}" for n in range(256))

_GATEWAY = re.compile(r"[a-z0-9-]{1,40}")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


class Direction(StrEnum):
    """Which side sends."""

    UP = "up"
    DOWN = "down"


class Address(NamedTuple):
    """Where a message belongs: the gateway it is from or for, and what it is called."""

    gateway: str
    direction: Direction
    name: str


def is_gateway_id(text: str) -> bool:
    """Whether `text` is a gateway id: 1 to 40 of a-z, 0-9 and hyphen."""
    return _GATEWAY.fullmatch(text) is not None


def shard_of(gateway: str) -> str:
    """The gateway's shard: the first two hex digits of the SHA-256 of its id."""
    return hashlib.sha256(gateway.encode()).hexdigest()[:2]


def build(address: Address) -> str:
    """The topic of `address`.

    Raises:
        ValueError: the gateway id or the name is not allowed in a topic.
    """
    if not is_gateway_id(address.gateway) or _NAME.fullmatch(address.name) is None:
        message = f"not a topic: gateway {address.gateway!r}, name {address.name!r}"
        raise ValueError(message)
    return f"{ROOT}/g/{shard_of(address.gateway)}/{address.gateway}/{address.direction}/{address.name}"


def up(gateway: str, name: str) -> str:
    """The topic on which `gateway` sends `name`."""
    return build(Address(gateway, Direction.UP, name))


def down(gateway: str, name: str) -> str:
    """The topic on which `gateway` hears `name`."""
    return build(Address(gateway, Direction.DOWN, name))


def parse(topic: str) -> Address:
    """The address of `topic`.

    Raises:
        DecodeError: `topic` is not one that `build` makes; a wrong shard is such a case.
    """
    parts = topic.split("/")
    if len(parts) == 7 and parts[:3] == ["lineside", "v1", "g"]:
        shard, gateway, direction, name = parts[3:]
        if (
            direction in (Direction.UP, Direction.DOWN)
            and is_gateway_id(gateway)
            and _NAME.fullmatch(name)
            and shard == shard_of(gateway)
        ):
            return Address(gateway, Direction(direction), name)
    message = f"not a gateway topic: {topic[:120]!r}"
    raise DecodeError(message)


def up_filter(shard: str) -> str:
    """What a hub replica that holds `shard` subscribes to."""
    return f"{ROOT}/g/{shard}/+/up/#"


ALL_UP = f"{ROOT}/g/+/+/up/#"
"""What a hub that holds every shard subscribes to: one filter instead of 256."""


def down_filter(gateway: str) -> str:
    """What `gateway` subscribes to."""
    return f"{ROOT}/g/{shard_of(gateway)}/{gateway}/down/#"


def check_filter(topic_filter: str) -> str:
    """`topic_filter` itself.

    Raises:
        ValueError: not a filter a broker takes: a wildcard that is not a whole level, `#` before the end, empty.
    """
    levels = topic_filter.split("/")
    misplaced = any(("+" in level or "#" in level) and len(level) > 1 for level in levels) or "#" in levels[:-1]
    if misplaced or not _fits(topic_filter):
        message = f"not a topic filter: {topic_filter[:120]!r}"
        raise ValueError(message)
    return topic_filter


def check_topic(topic: str) -> str:
    """`topic` itself.

    Raises:
        ValueError: not a topic a broker takes: it holds a wildcard, or is empty or too long.
    """
    if "+" in topic or "#" in topic or not _fits(topic):
        message = f"not a topic: {topic[:120]!r}"
        raise ValueError(message)
    return topic


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a subscription to `topic_filter` receives `topic`, as MQTT has it."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    if wanted[-1] == "#":
        wanted = wanted[:-1]
        levels = levels[: len(wanted)]
    return len(wanted) == len(levels) and all(want in ("+", level) for want, level in zip(wanted, levels, strict=True))


def _fits(topic: str) -> bool:
    return 0 < len(topic.encode()) <= MAX_TOPIC_BYTES and "\0" not in topic
