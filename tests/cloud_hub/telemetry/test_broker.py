"""The broker beside the hub."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloud_hub.errors import BrokerError
from cloud_hub.telemetry.broker import Broker, BrokerSettings
from edge_protocol.mqtt import MqttLink

ENGINES = ["iotcore", pytest.param("mosquitto", marks=pytest.mark.broker)]


@pytest.fixture(params=ENGINES)
def settings(request: pytest.FixtureRequest, tmp_path: Path, free_port: Callable[[], int]) -> BrokerSettings:
    """A broker of each engine, on ports of its own."""
    port = free_port()
    v3 = port if request.param == "mosquitto" else free_port()
    return BrokerSettings(tmp_path / "broker", request.param, "127.0.0.1", (port, v3))


@pytest.fixture
def broker(settings: BrokerSettings) -> Iterator[Broker]:
    """A broker that runs."""
    running = Broker(settings)
    running.start()
    yield running
    running.stop()


def listens(port: int) -> bool:
    """Whether something listens on a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(holds: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    """Wait until something holds."""
    wait = threading.Event()
    for _ in range(round(timeout_s / 0.05)):
        if holds():
            return True
        wait.wait(0.05)
    return False


def carries(port: int, version: str = "5") -> bool:
    """Whether a broker carries a message from one link to another."""
    got = threading.Event()
    links = [MqttLink(f"mqtt://127.0.0.1:{port}", name, backoff_s=(0.05, 0.2)) for name in ("one", "two")]
    try:
        ready = [threading.Event(), threading.Event()]
        links[1].subscribe("a/b")
        for link, up in zip(links, ready, strict=True):
            link.start(lambda _topic, _payload: got.set(), up.set)
        if not all(up.wait(20) for up in ready) or {link.version for link in links} != {version}:
            return False
        return links[0].publish("a/b", b"x") and got.wait(20)
    finally:
        for link in links:
            link.close()


def test_it_carries_both_versions_of_mqtt(broker: Broker, settings: BrokerSettings) -> None:
    """
    The first port speaks MQTT 5; iotcore's second port speaks 3.1.1.
    """
    assert carries(settings.ports[0])
    if settings.engine == "iotcore":
        assert carries(settings.ports[1], "3.1.1")


def test_a_port_that_is_taken_is_named_with_a_cure(settings: BrokerSettings) -> None:
    """
    A busy port is one sentence, and no broker is left behind.
    """
    with socket.create_server(("127.0.0.1", settings.ports[0])):
        broker = Broker(settings)

        with pytest.raises(BrokerError, match=str(settings.ports[0])) as caught:
            broker.start()

    assert "port" in caught.value.hint
    assert broker.pid is None


def test_a_broker_that_died_is_started_again_on_the_same_port(broker: Broker, settings: BrokerSettings) -> None:
    """
    Gateways find it where it was.
    """
    assert broker.check()
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGKILL)
    until(lambda: not listens(settings.ports[0]))

    while broker.check():
        pass

    assert broker.check()
    assert broker.restarts == 1
    assert carries(settings.ports[0])


def test_it_stops_and_leaves_the_port(broker: Broker, settings: BrokerSettings) -> None:
    """
    After a stop nothing listens; a second stop does nothing.
    """
    broker.stop()
    broker.stop()

    assert until(lambda: not listens(settings.ports[0]))


def test_it_dies_with_its_parent(settings: BrokerSettings) -> None:
    """
    A hub that is killed with −9 leaves no broker behind.
    """
    program = (
        "import sys; from pathlib import Path; from cloud_hub.telemetry.broker import *\n"
        f"broker = Broker(BrokerSettings(Path({str(settings.folder)!r}), {settings.engine!r}, '127.0.0.1', "
        f"{settings.ports})); broker.start()\n"
        "print('up', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as hub:
        assert hub.stdout is not None
        assert hub.stdout.readline() == "up\n"
        assert listens(settings.ports[0])

        hub.kill()

    assert until(lambda: not listens(settings.ports[0]))
