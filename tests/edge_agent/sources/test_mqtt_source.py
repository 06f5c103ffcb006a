"""The laws of parts that come as messages of a broker."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent import settings
from edge_agent.clock import system_mono_us
from edge_agent.errors import ConfigError, SourceError
from edge_agent.sample import Sample, Trigger
from edge_agent.sources.kinds import make_source
from edge_agent.sources.mqtt import HEAR, MqttSource
from edge_agent.sources.subscription import GRACE_US
from edge_protocol.codes import Reason
from edge_protocol.link import Link
from edge_protocol.loopback import LoopbackBroker
from edge_protocol.mqtt import MqttLink
from tests.edge_agent.sources.streams import eventually
from tests.edge_protocol.brokers import EmbeddedBroker

TOPIC = "line/4/window"
NOW_US = 77


class Line:
    """A source at a broker in memory, and a sensor that speaks there."""

    def __init__(self, **keys: Any) -> None:
        self.broker = LoopbackBroker()
        self.sensor = self.broker.link("sensor", window=10_000)
        self.sensor.start(lambda _topic, _payload: None, lambda: None)
        table = settings.MqttSource(name="engine", broker="mqtt://127.0.0.1", topic="line/+/window", **keys)
        self.source = MqttSource(table, lambda: self.broker.link("source", hear=HEAR), lambda: NOW_US)
        self.source.open()
        self.source.waiting(0)

    def say(self, payload: Any) -> None:
        """Let the sensor speak."""
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.sensor.publish(TOPIC, data)

    def grab(self) -> Sample:
        """The next sample."""
        return self.source.grab(Trigger(1, 1, 0, 0))


def test_each_message_is_a_part() -> None:
    """As many samples as messages, in their order, and then nothing waits."""
    line = Line()
    for n in range(3):
        line.say({"signal": [n, 1.5], "part": f"P{n}", "product": "seal", "lot": 7, "number": n})
    found = []
    while line.source.waiting(0):
        found.append(line.grab())

    assert [(s.part, s.product, s.lot, s.number) for s in found] == [(f"P{n}", "seal", "7", n) for n in range(3)]
    assert [s.channels["signal"].data.tolist() for s in found] == [[n, 1.5] for n in range(3)]  # type: ignore[union-attr]
    assert {s.channels["signal"].mono_us for s in found} == {NOW_US}
    assert not any(s.replayed for s in found)


def test_a_message_may_hold_several_channels() -> None:
    """Lists are windows, a number is a window of one; `taken_us` is the sensor's own time."""
    line = Line(channels=("signal", "speed"), length=3)
    line.say({"signal": [1, 2, 3], "speed": 12.5, "taken_us": 5})

    channels = line.grab().channels

    assert {name: channel.data.tolist() for name, channel in channels.items()} == {  # type: ignore[union-attr]
        "signal": [1, 2, 3],
        "speed": [12.5],
    }
    assert {channel.taken_us for channel in channels.values()} == {5}


def test_a_null_is_a_gap() -> None:
    """What the sensor did not measure is not a number, and is counted."""
    line = Line()
    line.say({"signal": [1, None, 3, None]})

    channel = line.grab().channels["signal"]

    assert np.isnan(channel.data).tolist() == [False, True, False, True]
    assert channel.missing == 2


@pytest.mark.parametrize(
    ("payload", "reason", "cause"),
    [
        (b"\xff\x00", Reason.UNREADABLE, "not a JSON object"),
        (b"[1, 2]", Reason.UNREADABLE, "not a JSON object"),
        ({"noise": [1]}, Reason.WRONG_SHAPE, "there is no 'signal', only noise"),
        ({"signal": "loud"}, Reason.UNREADABLE, "neither a list of numbers nor a number"),
        ({"signal": [1, "2", 3]}, Reason.UNREADABLE, "neither a list of numbers nor a number"),
        ({"signal": [1, 2]}, Reason.WRONG_SHAPE, "2 numbers, 3 were agreed"),
        ({"signal": [1, 2, 3], "part": ["P"]}, Reason.UNREADABLE, "part, product and lot are texts"),
        ({"signal": [1, 2, 3], "part": "P" * 121}, Reason.UNREADABLE, "at most 120"),
        ({"signal": [1, 2, 3], "number": -1}, Reason.UNREADABLE, "number is one"),
        (b'{"signal": ' + b"[" * 5000, Reason.UNREADABLE, "not a JSON object"),
    ],
)
def test_what_cannot_be_read_is_a_fault_and_still_a_part(payload: Any, reason: Reason, cause: str) -> None:
    """Every message gets its trigger; one that is not as agreed says what is wrong, and the next one is read."""
    line = Line(length=3)
    line.say(payload)
    line.say({"signal": [1, 2, 3]})

    bad, good = line.grab(), line.grab()

    assert (bad.fault, bad.channels) == (reason, {})
    assert cause in bad.detail
    assert good.fault is Reason.NONE


def test_raw_floats_are_little_endian_and_channel_after_channel() -> None:
    """`float32` needs no words: as many numbers as were agreed, in the order of the channels."""
    line = Line(payload="float32", channels=("x", "y"), length=2)
    line.say(np.array([1, 2, 3, 4], "<f4").tobytes())
    line.say(b"\x00" * 15)

    good, bad = line.grab(), line.grab()

    assert {name: channel.data.tolist() for name, channel in good.channels.items()} == {"x": [1, 2], "y": [3, 4]}  # type: ignore[union-attr]
    assert (bad.fault, bad.detail) == (Reason.WRONG_SHAPE, "15 bytes, 2 × 2 floats have 16")


@pytest.mark.parametrize(("kind", "channel"), [("npy", "signal"), ("image", "image")])
def test_files_are_handed_on_as_they_came(kind: str, channel: str) -> None:
    """A picture or .npy is decoded and checked where every other one is."""
    line = Line(payload=kind)
    line.say(b"whatever it is")

    assert line.grab().channels[channel].data == b"whatever it is"


def test_what_a_full_queue_pushes_out_is_a_part_all_the_same() -> None:
    """Every message becomes a trigger: the oldest, that found no room any more, say OVERLOAD."""
    line = Line(queue=3)
    for n in range(8):
        line.say({"signal": [n], "part": f"P{n}"})
    found = []
    while line.source.waiting(0):
        found.append(line.grab())

    assert [(s.fault, s.part) for s in found] == [(Reason.OVERLOAD, "")] * 5 + [
        (Reason.NONE, part) for part in ("P5", "P6", "P7")
    ]


def test_numbered_parts_are_missed_by_their_numbers() -> None:
    """Where the line counts, the hole in its numbers tells what was pushed out, and nothing tells it twice."""
    line = Line(queue=2)
    for n in range(5):
        line.say({"signal": [n], "number": n})
    found = []
    while line.source.waiting(0):
        found.append(line.grab())

    assert [(s.fault, s.number) for s in found] == [(Reason.NONE, 3), (Reason.NONE, 4)]


def test_a_part_told_twice_is_one() -> None:
    """A broker promises at least once: the same number with the same bytes is no second part, other bytes are."""
    line = Line()
    for value in (1, 1, 2):
        line.say({"signal": [value], "number": 7})
    line.say({"signal": [3]})
    line.say({"signal": [3]})

    found = []
    while line.source.waiting(0):
        found.append(line.grab().channels["signal"].data.tolist())  # type: ignore[union-attr]

    assert found == [[1], [2], [3], [3]]


def test_a_broker_that_is_away_is_told_until_it_is_back() -> None:
    """After a grace `waiting` and `open` raise; what had come before is still given, and the link returns by itself."""
    line = Line()
    line.say({"signal": [1]})
    line.broker.cut("source")
    assert line.source.waiting(GRACE_US)
    assert line.grab().fault is Reason.NONE

    away = line.grab()
    with pytest.raises(SourceError, match="is away"):
        line.source.waiting(2 * GRACE_US)
    with pytest.raises(SourceError, match="is away"):
        MqttSource.open(_later(line.source))
    line.broker.restore("source")
    line.say({"signal": [2]})

    assert (away.fault, "the broker is away" in away.detail) == (Reason.SOURCE_FAULT, True)
    assert line.source.waiting(2 * GRACE_US)
    assert line.grab().channels["signal"].data.tolist() == [2]  # type: ignore[union-attr]


def test_a_second_agent_takes_nobodys_messages_before_it_works() -> None:
    """Opening alone connects nowhere: a broker would end the first agent's link, which has the same name."""
    made: list[Link] = []
    broker = LoopbackBroker()

    def make() -> Link:
        made.append(broker.link("source"))
        return made[-1]

    table = settings.MqttSource(name="engine", broker="mqtt://127.0.0.1", topic=TOPIC)
    source = MqttSource(table, make, lambda: 0)

    source.open()
    before = len(made)
    source.waiting(0)

    assert (before, len(made)) == (0, 1)


@pytest.mark.parametrize(
    "keys",
    [{"broker": "mqtt://user@host"}, {"topic": "line/#/window"}, {"broker": "mqtts://h", "ca_file": Path("none.pem")}],
)
def test_what_it_names_is_checked_before_anything_runs(keys: dict[str, Any]) -> None:
    """A wrong URL, topic or authority is a matter of configuration, named by its row."""
    table = settings.MqttSource(**{"name": "engine", "broker": "mqtt://127.0.0.1", "topic": TOPIC, **keys})

    with pytest.raises(ConfigError, match=r"\[\[sources\]\] 'engine'") as caught:
        make_source(table, "press-1")

    assert caught.value.hint


@pytest.fixture
def real_broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """A broker of its own process."""
    broker = EmbeddedBroker(tmp_path)
    yield broker
    broker.close()


def test_it_hears_a_real_broker_and_no_retained_message(real_broker: EmbeddedBroker) -> None:
    """Over the network: what is said now is a part, what was retained before is none."""
    url = f"mqtt://127.0.0.1:{real_broker.ports['5']}"
    connected = threading.Event()
    sensor = MqttLink(url, "sensor", backoff_s=(0.05, 0.1))
    sensor.start(lambda _topic, _payload: None, connected.set)
    assert connected.wait(10)
    sensor.publish(TOPIC, b'{"signal": [1], "part": "old"}', retain=True)
    source = make_source(settings.MqttSource(name="engine", broker=url, topic=TOPIC), "press-1")
    source.open()
    source.waiting(system_mono_us())
    assert isinstance(source, MqttSource)
    eventually(lambda: source._subscription.connected)

    sensor.publish(TOPIC, b'{"signal": [2], "part": "new"}')
    eventually(lambda: source.waiting(system_mono_us()))
    sample = source.grab(Trigger(1, 1, 0, system_mono_us()))
    source.close()
    sensor.close()

    assert sample.part == "new"


def _later(source: MqttSource) -> MqttSource:
    """The same source when its grace is over."""
    source._now_us = lambda: 2 * GRACE_US
    return source
