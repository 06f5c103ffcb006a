"""The laws of parts that are announced by messages of a broker."""

import json
from typing import Any

import pytest

from edge_agent import settings
from edge_agent.errors import SourceError
from edge_agent.sources.mqtt_trigger import HEAR, MqttTrigger
from edge_agent.sources.subscription import GRACE_US
from edge_agent.sources.triggers import Tick
from edge_protocol.loopback import LoopbackBroker

NOW_US = 7


class Line:
    """A trigger at a broker in memory, and a controller that speaks there."""

    def __init__(self, **keys: Any) -> None:
        self.broker = LoopbackBroker()
        self.controller = self.broker.link("controller", window=10_000)
        self.controller.start(lambda _topic, _payload: None, lambda: None)
        table = settings.MqttTrigger(name="belt", broker="mqtt://127.0.0.1", topic="line/4/part", **keys)
        self.trigger = MqttTrigger(table, lambda: self.broker.link("trigger", hear=HEAR), lambda: NOW_US)
        self.trigger.poll(0)

    def say(self, payload: Any) -> None:
        """Let the controller announce a part."""
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.controller.publish("line/4/part", data)

    def ticks(self) -> list[Tick]:
        """All that is there."""
        return list(iter(lambda: self.trigger.poll(0), None))


def test_a_message_may_name_its_part() -> None:
    """Part, product and lot of a JSON object go with the tick; any other payload is a part without a name."""
    line = Line()
    for payload in ({"part": "P1", "product": "seal", "lot": "L9"}, b"", b"\xff", {"part": ["P"]}, [1]):
        line.say(payload)

    assert line.ticks() == [Tick(NOW_US, 0, "P1", "seal", "L9"), *[Tick(NOW_US)] * 4]


def test_what_a_full_queue_pushes_out_is_a_missed_part() -> None:
    """Ticks and missed parts together are as many as the messages."""
    line = Line(queue=3)
    for n in range(10):
        line.say({"part": f"P{n}"})

    ticks = line.ticks()

    assert [(tick.missed, tick.part) for tick in ticks] == [(7, "P7"), (0, "P8"), (0, "P9")]


def test_the_lines_own_numbers_go_with_the_ticks() -> None:
    """Where the line counts, the hole in its numbers tells what was pushed out; one told twice is one part."""
    line = Line(queue=2)
    for number in (5, 6, 6, 9, 1):
        line.say({"number": number})

    assert [(tick.number, tick.missed) for tick in line.ticks()] == [(9, 0), (1, 0)]


def test_the_same_part_again_is_no_second_part() -> None:
    """A number told twice in a row is one tick; without numbers every message is a part."""
    line = Line()
    for payload in ({"number": 5}, {"number": 5}, {"part": "P"}, {"part": "P"}):
        line.say(payload)

    assert [tick.number for tick in line.ticks()] == [5, None, None]


def test_no_part_is_heard_of_late() -> None:
    """What was announced while the link was away has passed: it is not looked at now as if it were there."""
    line = Line()
    line.controller.publish("line/4/part", b"kept", retain=True)
    line.ticks()
    line.broker.cut("trigger")
    line.say({"part": "gone"})
    line.broker.restore("trigger")

    assert line.ticks() == []


def test_a_broker_that_is_away_is_told_until_it_is_back() -> None:
    """After a grace `poll` raises, and ticks come again with the broker."""
    line = Line()
    line.broker.cut("trigger")
    assert line.trigger.poll(GRACE_US - 1) is None

    with pytest.raises(SourceError, match="is away"):
        line.trigger.poll(GRACE_US)
    line.broker.restore("trigger")
    line.say({"part": "P2"})

    assert [tick.part for tick in line.ticks()] == ["P2"]
