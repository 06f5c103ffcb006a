"""The ways in and out of a gateway, through a whole agent: what the line says comes in, and what is judged goes out."""

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.agent import Agent
from edge_agent.clock import Clock
from edge_agent.inference.intake import Intake
from edge_protocol.mqtt import MqttLink
from tests.edge_agent.inference.small_bundles import npy
from tests.edge_agent.outputs.receiver import Receiver
from tests.edge_agent.sources.streams import write_video
from tests.edge_protocol.brokers import EmbeddedBroker
from tests.gateways import Gateway, until, window

PUSH_TOML = """\
[gateway]
id = "{name}"

[[sources]]
kind = "push"
name = "cell"
port = 0

[[triggers]]
kind = "source"
name = "sent"
source = "cell"
poll_s = 0.005

[[pipelines]]
name = "{pipeline}"
bundle = "{bundle}"
source = "cell"
trigger = "sent"
outputs = ["mes"]
"""
MES_TOML = """
[[outputs]]
kind = "http"
name = "mes"
url = "http://127.0.0.1:{port}/verdicts"
backoff_s = 0.05
give_up_s = 20
"""
BELT_TOML = """\
[gateway]
id = "{name}"

[[sources]]
kind = "video"
name = "film"
path = "film.avi"

[[triggers]]
kind = "mqtt"
name = "belt"
broker = "mqtt://127.0.0.1:PORT"
topic = "line/4/part"

[[pipelines]]
name = "{pipeline}"
bundle = "{bundle}"
source = "film"
trigger = "belt"
outputs = ["journal"]

[[outputs]]
kind = "file"
name = "journal"
path = "verdicts.jsonl"
"""


@pytest.fixture
def mes() -> Iterator[Receiver]:
    """Who is told by HTTP."""
    receiver = Receiver()
    yield receiver
    receiver.break_down()


def post(port: int, body: bytes, part: str = "", number: int | None = None) -> dict[str, Any]:
    """Send a part and wait for its verdict."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"Content-Type": "application/x-npy", "Lineside-Part": part}
        headers |= {} if number is None else {"Lineside-Number": str(number)}
        connection.request("POST", "/parts?wait=30000", body, headers)
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()


def port_of(agent: Agent) -> int:
    """Where an agent in this process takes parts."""
    port: int = agent._stations[0]._sources["cell"].port  # type: ignore[attr-defined]
    return port


def test_a_part_that_is_sent_is_judged_answered_told_and_recorded(tmp_path: Path, mes: Receiver) -> None:
    """One number and one verdict: for the sender, for the webhook though it was away at first, and on record."""
    mes.answers = [(503, {})]
    gateway = Gateway(tmp_path, toml=PUSH_TOML, more=MES_TOML.format(port=mes.port))
    with gateway.inside() as agent:
        answers = [post(port_of(agent), npy(window(n)), f"P{n}") for n in range(4)]
        until("the webhook", lambda: len(mes.told) == 5)

    told = [(each["trigger"], each["part"], each["verdict"]) for each in mes.told]
    assert told[1:] == [(each["trigger"], each["part"], each["verdict"]) for each in answers]
    assert told[0] == told[1]
    assert [(n, verdict) for n, verdict, _ in gateway.verdicts()] == [(n, verdict) for n, _, verdict in told[1:]]
    assert {account.stream: account.produced for account in gateway.made()}["outcomes"] == 4


def test_what_the_line_announces_is_judged_under_its_name(tmp_path: Path) -> None:
    """Each message is one part under the names that the line gave it; a number left out is a part that was lost."""
    (tmp_path / "broker").mkdir()
    broker = EmbeddedBroker(tmp_path / "broker")
    url, connected = f"mqtt://127.0.0.1:{broker.ports['5']}", threading.Event()
    controller = MqttLink(url, "controller")
    controller.start(lambda _topic, _payload: None, connected.set)
    gateway = Gateway(tmp_path / "g", toml=BELT_TOML.replace("PORT", str(broker.ports["5"])), bundle="small-image")
    write_video(gateway.folder / "film.avi", 8)
    assert connected.wait(30)

    with gateway.inside() as agent:
        ticker = agent._stations[0]._ticker
        until("the trigger's link", lambda: ticker._subscription.connected)  # type: ignore[attr-defined]
        for n in (0, 1, 4):
            assert controller.publish("line/4/part", json.dumps({"part": f"P{n}", "lot": "L9", "number": n}).encode())
        until("five verdicts", lambda: len(gateway.journal()) == 5)
    controller.close()
    broker.close()

    told = [(each["part"], each["lot"], each["verdict"] == "UNINSPECTED") for each in gateway.journal()]
    assert told == [("P0", "L9", False), ("P1", "L9", False), ("2", "", True), ("3", "", True), ("P4", "L9", False)]
    assert len(gateway.verdicts()) == 5


def counting(folder: Path) -> Gateway:
    """A gateway whose line counts its parts."""
    return Gateway(folder, toml=PUSH_TOML.replace('outputs = ["mes"]', ""))


def live_and_die(gateway: Gateway, numbers: range) -> None:
    """A life as a process, killed once these parts are on record."""
    with gateway.running() as running:
        (said,) = [line for line in running.lines if "takes parts at" in line]
        port = int(said.rpartition(":")[2].partition("/")[0])
        for number in numbers:
            post(port, npy(window(number)), number=number)
        until("the record", lambda: gateway.query("SELECT number FROM numbers") == [{"number": numbers[-1]}])
        running.kill()


def test_what_passes_after_a_stop_in_order_is_nobodys_part(tmp_path: Path) -> None:
    """The count ends with the stop: a life that was killed before its first part does not take it up again."""
    gateway = counting(tmp_path)
    with gateway.inside() as agent:
        for number in (1, 2):
            post(port_of(agent), npy(window(number)), number=number)
    left = gateway.query("SELECT * FROM numbers")

    with gateway.running() as running:
        running.kill()
    with gateway.inside() as agent:
        post(port_of(agent), npy(window(500)), number=500)

    assert left == []
    assert [row["part"] for row in gateway.query("SELECT part FROM verdict ORDER BY trigger")] == ["1", "2", "500"]


def test_a_trigger_that_a_kill_left_without_its_number_has_one_verdict(tmp_path: Path) -> None:
    """A whole agent gives it the part that the next number leaves out; and where none is left out, none."""
    gateway = counting(tmp_path)
    live_and_die(gateway, range(1, 4))
    leave_open(gateway, 2)

    with gateway.inside() as agent:
        answer = post(port_of(agent), npy(window(5)), number=5)

    rows = gateway.query("SELECT trigger, part, reason FROM verdict ORDER BY trigger")
    assert [tuple(row.values()) for row in rows[3:]] == [
        (4, "4", "INTERRUPTED"),
        (5, "", "INTERRUPTED"),
        (6, "5", "NONE"),
    ]
    assert answer["trigger"] == gateway.triggers() == len(rows) == 6


def leave_open(gateway: Gateway, triggers: int) -> None:
    """As a kill does it between the taking of a trigger and the number of its part."""
    (epoch,) = gateway.query("SELECT value FROM meta WHERE name = 'epoch'")
    clock = Clock()
    ring = Intake.open(gateway.data / "intake.ring", boot=clock.time().boot, epoch=int(epoch["value"]))
    for _ in range(triggers):
        ring.take(["engine"], clock.wall_us(), clock.mono_us())
