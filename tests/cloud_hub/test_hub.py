"""A whole hub: processes, broker, kills."""

import contextlib
import random
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_hub.telemetry.broker import MAX_PAYLOAD_BYTES
from edge_protocol import topics
from edge_protocol.codes import Stream
from edge_protocol.messages import Metrics, Started
from tests.cloud_hub.hubs import HubProcess, cloud_hub, connects, drain


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    """A hub that was made and does not run."""
    process = HubProcess(tmp_path / "hub")
    process.make()
    yield process
    process.close()


def test_a_day_in_the_life_of_a_hub(hub: HubProcess) -> None:
    """
    Enrolled gateways speak over real MQTT, everything is receipted, the account balances, an orderly stop leaves
    nothing running and exits with 0.
    """
    keys = {name: hub.enrol(name, "--line", "a") for name in ("press-1", "press-2")}
    serving = hub.start()
    gateways = [hub.gateway(name, key, serving["broker"]) for name, key in keys.items()]
    for gateway in gateways:
        gateway.judge(3000)
        gateway.record(Stream.EVENTS, Started(agent_version="1", clean=True))
        gateway.record(Stream.METRICS, *(Metrics(values={"n": float(n)}) for n in range(100)))

    assert all(drain(gateway) for gateway in gateways)

    with urllib.request.urlopen(f"{serving['web']}/health/ready", timeout=60) as answer:  # noqa: S310
        assert answer.status == 200
    for gateway in gateways:
        gateway.send_state()
    code, accounts = until_balanced(hub, 3101)
    assert code == 0, accounts
    assert [(each["produced"], each["archived"], each["lost"]) for each in accounts] == [(3101, 3101, 0)] * 2
    for gateway in gateways:
        gateway.link.close()
    assert hub.stop() == (0, "")
    assert not (hub.folder / "serving.json").exists()


def until_balanced(hub: HubProcess, produced: int) -> tuple[int, list[dict[str, int]]]:
    """The account once every gateway's last state has arrived."""
    for _ in range(50):
        code, accounts = hub.ask("account")
        if all(each["produced"] == produced and each["as_of_us"] for each in accounts):
            return code, accounts
    return code, accounts


@pytest.mark.slow
def test_a_hub_that_is_killed_loses_nothing(hub: HubProcess) -> None:
    """
    Killed with −9 at random moments while gateways send, it ends with the account balanced and no row twice.
    """
    key = hub.enrol("press-1")
    serving = hub.start()
    gateway = hub.gateway("press-1", key, serving["broker"], window=500)
    gateway.judge(20_000)
    luck = random.Random(11)  # noqa: S311

    for _ in range(3):
        heard = len(gateway.receipts)
        sender = threading.Thread(target=gateway.send_held, args=(20,))
        sender.start()
        with gateway.received:
            gateway.received.wait_for(lambda heard=heard: len(gateway.receipts) > heard, 10)
        time.sleep(luck.uniform(0, 0.15))
        hub.kill()
        sender.join()
        hub.start()
        assert connects(gateway)

    assert drain(gateway)
    gateway.send_state()
    code, (account,) = until_balanced(hub, 20_000)
    assert code == 0, account
    assert (account["archived"], account["lost"], account["doubled_verdicts"]) == (20_000, 0, 0)
    gateway.link.close()


def test_a_restarted_hub_is_where_it_was(hub: HubProcess) -> None:
    """
    Broker and pages have the same addresses after any kind of end.
    """
    first = hub.start()
    hub.kill()
    second = hub.start()
    hub.stop(signal.SIGINT)
    third = hub.start()

    assert first["broker"] == second["broker"] == third["broker"]
    assert first["web"] == second["web"] == third["web"]


def test_one_folder_is_served_once(hub: HubProcess) -> None:
    """
    A second hub on the same folder is refused with cause and cure, and the first goes on.
    """
    serving = hub.start()

    second = cloud_hub("serve", "--hub", hub.folder)

    assert second.returncode == 2
    assert second.stderr.count("\n") == 2
    assert "already serves" in second.stderr
    with urllib.request.urlopen(f"{serving['web']}/health/live", timeout=60) as answer:  # noqa: S310
        assert answer.status == 200


def test_enrolment_while_the_hub_runs_counts_at_once(hub: HubProcess) -> None:
    """
    A gateway that is enrolled, or replaced, beside a running hub is heard with its new key and not with the old.
    """
    serving = hub.start()
    old = hub.gateway("press-1", hub.enrol("press-1"), serving["broker"])
    old.judge(100)
    assert drain(old)
    old.link.close()

    for name in ("certificate.pem", "hub-keys.json", "roots.pem", "agent.toml"):
        (hub.folder.parent / "press-1" / name).unlink()
    new = hub.gateway("press-1", hub.enrol("press-1", "--replace"), serving["broker"])
    new.epoch = 8
    new.judge(100)

    assert drain(new)
    new.link.close()


def test_a_message_as_large_as_the_broker_carries_does_not_stop_the_hub(hub: HubProcess) -> None:
    """
    The hub's connection survives the largest message that any stranger can get through its broker.
    """
    key = hub.enrol("press-1")
    serving = hub.start()
    host, port = serving["broker_v3"].removeprefix("mqtt://").split(":")
    with socket.create_connection((host, int(port)), 20) as stranger:
        stranger.sendall(packet(0x10, b"\0\4MQTT\4\2\0\x3c\0\1s"))
        assert stranger.recv(4)[:2] == b"\x20\x02"
        topic = topics.up("press-1", "verdicts").encode()
        for size in (MAX_PAYLOAD_BYTES - 200, MAX_PAYLOAD_BYTES + 200_000):
            with contextlib.suppress(ConnectionError):
                stranger.sendall(packet(0x30, len(topic).to_bytes(2, "big") + topic + bytes(size)))
        # The broker takes the first and ends the connection at the second, in order or by a reset.
        stranger.settimeout(20)
        with contextlib.suppress(ConnectionResetError):
            assert stranger.recv(1) == b""

    gateway = hub.gateway("press-1", key, serving["broker"])
    gateway.judge(100)

    assert drain(gateway)


def packet(kind: int, body: bytes) -> bytes:
    """An MQTT packet: kind, length in groups of seven bits, body."""
    size, length = len(body), b""
    while True:
        size, digit = divmod(size, 128)
        length += bytes([digit | (0x80 if size else 0)])
        if not size:
            return bytes([kind]) + length + body


@pytest.mark.slow
@pytest.mark.broker
def test_a_gateway_speaks_under_its_own_name_only(tmp_path: Path) -> None:
    """
    With mosquitto and certificates a gateway is heard; another's topics, no certificate and a revoked one are not.
    """
    hub = HubProcess(tmp_path / "hub")
    hub.make("--engine", "mosquitto")
    toml = hub.folder / "hub.toml"
    toml.write_text(toml.read_text().replace("tls = false", "tls = true"))
    try:
        keys = {name: hub.enrol(name) for name in ("press-1", "press-2")}
        serving = hub.start()
        assert serving["broker"].startswith("mqtts://")
        good = hub.gateway("press-1", keys["press-1"], serving["broker"])
        # press-2's certificate, press-1's name and signing key: the broker must stop what the signature would not.
        thief = hub.gateway("press-2", keys["press-1"], serving["broker"])
        thief.name = "press-1"
        assert connects(good)
        assert connects(thief)
        good.judge(100)
        thief.judge(10, verdict=1)
        thief.record(Stream.EVENTS, Started(agent_version="1", clean=True))

        assert drain(good)
        thief.send_held()
        assert not thief.await_receipts(1.0)

        _, accounts = hub.ask("account")
        assert {each["gateway"]: each["archived"] for each in accounts} == {"press-1": 100, "press-2": 0}
        good.link.close()
        thief.link.close()
        assert_revoked_is_refused(hub, serving["broker"])
    finally:
        hub.close()


def assert_revoked_is_refused(hub: HubProcess, url: str) -> None:
    """Replace press-1 while the hub runs: the old certificate connects no more, the new one does."""
    home = hub.folder.parent / "press-1"
    old_home = home.rename(hub.folder.parent / "press-1-old")
    key = hub.enrol("press-1", "--replace")
    fresh = hub.gateway("press-1", key, url)
    assert connects(fresh)
    fresh.link.close()
    home.rename(hub.folder.parent / "press-1-new")
    old_home.rename(home)
    wait = threading.Event()
    for _ in range(100):
        revoked = hub.gateway("press-1", key, url)
        refused = not any(revoked.link.connected or wait.wait(0.05) for _ in range(10))
        revoked.link.close()
        if refused:
            return
    pytest.fail("a revoked certificate still connects")
