"""The broker that the hub runs beside itself: configured, started, watched, restarted and ended with it.

What it carries is worth nothing until the hub has committed it, so a broker that forgets everything is good enough.
"""

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cloud_hub.errors import BrokerError
from cloud_hub.storage import files

START_S = 15.0
STOP_S = 5.0
MAX_PAYLOAD_BYTES = 4 * 1024 * 1024 - 64 * 1024
"""With topic and header still below what ends the hub's own connection, and would come again at the next one."""

HUB_NAME = "_hub"
"""The hub's own name at a broker with certificates: no gateway can have it, for an id has no underscore."""

_SEARCH = "/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of a broker with TLS: whom it trusts, who it is, whom it trusts no more."""

    roots: Path
    certificate: Path
    key: Path
    revoked: Path


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """What a broker is started with. `ports` are those of MQTT 5 and 3.1.1; mosquitto serves both on the first."""

    folder: Path
    engine: Literal["iotcore", "mosquitto"]
    host: str
    ports: tuple[int, int]
    certificates: Certificates | None = None


class Broker:
    """A broker in a child process. Start, check and stop it from one thread."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self.restarts = 0

    def start(self) -> None:
        """Start it and wait until it listens.

        Raises:
            BrokerError: a port is taken, the engine is not installed, or it ends at once.
        """
        settings = self._settings
        for port in self._listening():
            _check_free(settings.host, port)
        command = [sys.executable, "-P", "-m", "cloud_hub.telemetry.broker_child", settings.engine]
        self._process = subprocess.Popen(  # noqa: S603 (our own module, on files of our own)
            [*command, str(self._configure()), *self._binary()],
            stdin=subprocess.PIPE,
            # Ctrl-C in the hub's terminal is the hub's business: it ends the broker last.
            start_new_session=True,
        )
        deadline_s = time.monotonic() + START_S
        while not all(_answers(settings.host, port) for port in self._listening()):
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.stop()
                message = f"{settings.engine} does not listen on {settings.host}:{self._listening()[0]}"
                raise BrokerError(message, f"read what it said above; its configuration is in {settings.folder}")
            time.sleep(0.02)

    def check(self) -> bool:
        """Whether it runs; one that has ended is started again, on the same ports.

        Raises:
            BrokerError: it does not start again.
        """
        if self._process is not None and self._process.poll() is None:
            return True
        self.stop()
        self.restarts += 1
        self.start()
        return False

    def reload(self) -> None:
        """Have it read its list of revoked certificates again."""
        if self._process is not None and self._settings.engine == "mosquitto":
            self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """End it and wait for the end. May be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._process.pid if self._process is not None else None

    def _listening(self) -> Sequence[int]:
        return self._settings.ports if self._settings.engine == "iotcore" else self._settings.ports[:1]

    def _configure(self) -> Path:
        settings = self._settings
        if settings.engine == "iotcore":
            path, text = settings.folder / "rumqttd.toml", rumqttd_config(settings)
        else:
            path, text = settings.folder / "mosquitto.conf", mosquitto_config(settings)
            files.replace(settings.folder / "acl", ACL.encode())
        files.replace(path, text.encode())
        return path

    def _binary(self) -> list[str]:
        if self._settings.engine == "iotcore":
            return []
        found = shutil.which("mosquitto") or shutil.which("mosquitto", path=_SEARCH)
        if found is None:
            message = "mosquitto is not installed"
            raise BrokerError(message, 'install it (apt install mosquitto), or set engine = "iotcore" in [broker]')
        return [found]


ACL = f"""# Written by the hub at each start. A gateway speaks and listens under its own name only.
pattern write lineside/v1/g/+/%u/up/#
pattern read lineside/v1/g/+/%u/down/#
pattern read lineside/v1/fleet/#

user {HUB_NAME}
topic read lineside/v1/g/+/+/up/#
topic write lineside/v1/g/+/+/down/#
topic readwrite lineside/v1/fleet/#
"""


def rumqttd_config(settings: BrokerSettings) -> str:
    """The configuration of iotcore's broker: one listener for each version of MQTT, a log of 10 times 10 MiB."""
    log = {"max_segment_size": 10 * 1024 * 1024, "max_segment_count": 10}
    router = _lines({"id": 0, "max_connections": 10_000, "max_outgoing_packet_count": 200, **log})
    text = f"# Written by the hub at each start.\nid = 0\n\n[router]\n{router}"
    for version, port in zip(("v5", "v4"), settings.ports, strict=True):
        listen: dict[str, str | int] = {
            "name": version,
            "listen": f"{settings.host}:{port}",
            "next_connection_delay_ms": 0,
        }
        limits: dict[str, str | int] = {
            "connection_timeout_ms": 10_000,
            "max_payload_size": MAX_PAYLOAD_BYTES,
            "max_inflight_count": 200,
            "dynamic_filters": True,
        }
        text += f"\n[{version}.1]\n{_lines(listen)}\n[{version}.1.connections]\n{_lines(limits)}"
    return text


def mosquitto_config(settings: BrokerSettings) -> str:
    """The configuration of mosquitto: with certificates a gateway is who its certificate says, else all are equal."""
    lines = [
        "# Written by the hub at each start.",
        f"listener {settings.ports[0]} {settings.host}",
        f"message_size_limit {MAX_PAYLOAD_BYTES}",
        "max_inflight_messages 200",
        "max_queued_messages 10000",
        "persistence false",
        "log_dest stderr",
        "log_type error",
        "user root",  # else it drops its rights before it reads the key; without root this line does nothing
    ]
    files_of = settings.certificates
    if files_of is None:
        return "\n".join([*lines, "allow_anonymous true", ""])
    lines += [
        "allow_anonymous false",
        f"cafile {files_of.roots}",
        f"certfile {files_of.certificate}",
        f"keyfile {files_of.key}",
        f"crlfile {files_of.revoked}",
        "require_certificate true",
        "use_identity_as_username true",
        f"acl_file {settings.folder / 'acl'}",
        "",
    ]
    return "\n".join(lines)


def _lines(values: Mapping[str, str | int]) -> str:
    def literal(value: str | int) -> str:
        return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)

    return "".join(f"{name} = {literal(value)}\n" for name, value in values.items())


def _check_free(host: str, port: int) -> None:
    try:
        with socket.create_server((host, port), family=_family(host)):
            return
    except OSError as error:
        message = f"the broker cannot listen on {host}:{port}: {error.strerror}"
        hint = "end what uses the port (a hub that still runs?), or set another [broker] port in hub.toml"
        raise BrokerError(message, hint) from error


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), 1):
            return True
    except OSError:
        return False


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
