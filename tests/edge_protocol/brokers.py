"""Real brokers for tests, each a child process on loopback: the embedded one and mosquitto."""

import socket
import subprocess
import threading
from pathlib import Path

import iotcore

MAX_PAYLOAD_BYTES = 4 * 1024 * 1024

_EMBEDDED = """
id = 0
[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = 10485760
max_segment_count = 10
"""
_LISTENER = """
[{version}.1]
name = "{version}"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 0
[{version}.1.connections]
connection_timeout_ms = 5000
max_payload_size = {payload}
max_inflight_count = 100
dynamic_filters = true
"""


def free_port() -> int:
    """A port of loopback that nobody holds at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class EmbeddedBroker:
    """rumqttd in a child process, a listener for each version of MQTT."""

    def __init__(self, folder: Path) -> None:
        self.ports = {"5": free_port(), "3.1.1": free_port()}
        config = _EMBEDDED + "".join(
            _LISTENER.format(version=name, port=self.ports[version], payload=MAX_PAYLOAD_BYTES)
            for name, version in (("v5", "5"), ("v4", "3.1.1"))
        )
        path = folder / "rumqttd.toml"
        path.write_text(config)
        self._broker = iotcore.Broker(config_path=str(path))
        self._broker.start()

    def restart(self) -> None:
        """End and begin again on the same ports, everything forgotten."""
        self._broker.stop()
        self._broker.start()

    def close(self) -> None:
        """End for good."""
        self._broker.stop()


class Mosquitto:
    """mosquitto in a child process; `settings` are lines of its configuration."""

    def __init__(self, binary: str, folder: Path, settings: str = "allow_anonymous true\n") -> None:
        port = free_port()
        self._binary = binary
        self.ports = {"5": port, "3.1.1": port}
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"listener {port} 127.0.0.1\n{settings}")
        self._start()

    def restart(self) -> None:
        """End and begin again on the same port."""
        self.close()
        self._start()

    def close(self) -> None:
        """End for good."""
        self._process.terminate()
        self._process.wait(5)

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [self._binary, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait = threading.Event()
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.ports["5"]), 1).close()
            except ConnectionRefusedError:
                wait.wait(0.02)
            else:
                return
        self.close()
        message = f"mosquitto did not listen on port {self.ports['5']}"
        raise RuntimeError(message)
