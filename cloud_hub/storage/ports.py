"""Ports that were left to chance are chosen once and kept: gateways remember where the broker is."""

import errno
import json
import random
import socket
from pathlib import Path
from typing import NamedTuple

from cloud_hub.config import Config
from cloud_hub.errors import ConfigError
from cloud_hub.storage import files

FILE = "ports.json"

_RANGE = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections: one of these would be in the way at the next start."""

_TRIES = 200

_TAKEN = (errno.EADDRINUSE, errno.EACCES)


class Ports(NamedTuple):
    """Where a hub listens: MQTT 5, MQTT 3.1.1, pages."""

    mqtt: int
    mqtt_v3: int
    web: int


def choose(config: Config) -> Ports:
    """The ports of `hub.toml`, and in place of a 0 the one in `ports.json`, where a first call writes a free one.

    Raises:
        ConfigError: the file cannot be read or written.
    """
    settings = config.settings
    v3 = settings.broker.port_v3 if settings.broker.engine == "iotcore" else settings.broker.port
    asked = {"mqtt": settings.broker.port, "mqtt_v3": v3, "web": settings.web.port}
    path = config.folder / FILE
    before = _read(path)
    free = _free_ports(settings.broker.host, len(asked))
    chosen = {name: port or before.get(name) or free.pop() for name, port in asked.items()}
    if settings.broker.engine != "iotcore":
        chosen["mqtt_v3"] = chosen["mqtt"]
    if chosen != before:
        files.replace(path, json.dumps(chosen).encode() + b"\n")
    return Ports(**chosen)


def broker_url(config: Config, chosen: Ports) -> str:
    """The address of the broker that a gateway is told."""
    broker = config.settings.broker
    if broker.url:
        return broker.url
    host = f"[{broker.host}]" if ":" in broker.host else broker.host
    return f"{'mqtts' if broker.tls else 'mqtt'}://{host}:{chosen.mqtt}"


def _read(path: Path) -> dict[str, int]:
    try:
        values = json.loads(path.read_bytes()) if path.exists() else {}
        return {str(name): int(port) for name, port in values.items()}
    except (OSError, ValueError, AttributeError) as error:
        message = f"{path} cannot be read: {error}"
        raise ConfigError(message, "remove it; new ports are chosen, and gateways must be told") from error


def _free_ports(host: str, count: int) -> list[int]:
    found: list[int] = []
    for port in random.sample(_RANGE, _TRIES):
        if len(found) < count and _is_free(host, port):
            found.append(port)
    if len(found) < count:
        message = f"nothing can listen on {host}"
        raise ConfigError(message, "correct [broker] host in hub.toml; 127.0.0.1 is this machine")
    return found


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        try:
            listener.bind((host, port))
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            message = f"nothing can listen on {host}: {error.strerror}"
            raise ConfigError(message, "correct [broker] host in hub.toml; 127.0.0.1 is this machine") from error
        return True
