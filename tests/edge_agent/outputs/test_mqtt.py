import json
from pathlib import Path

import pytest

from edge_agent import settings
from edge_agent.errors import ConfigError
from edge_agent.judgement import Judgement
from edge_agent.outputs.kinds import make_output
from edge_agent.outputs.mqtt import COUNTS, MqttOutput
from edge_agent.sample import Trigger
from edge_protocol.batch import Context
from edge_protocol.codes import Reason, Verdict
from edge_protocol.loopback import LoopbackBroker

S = 1_000_000


def judgement(n: int, pipeline: str = "surface") -> Judgement:
    """The judgement of trigger `n`."""
    return Judgement(Trigger(1, n, 0, 0), pipeline, Context(pipeline), Verdict.OK, Reason.NONE, 0.5, 10)


def opened(broker: LoopbackBroker) -> MqttOutput:
    """An output that beats every second."""
    table = settings.MqttOutput(name="plc", broker="mqtt://127.0.0.1", prefix="cell/4", heartbeat_s=1.0)
    output = MqttOutput(table, broker.link("output"))
    output.open()
    return output


def listen(broker: LoopbackBroker, client_id: str = "plc") -> list[tuple[str, bytes]]:
    """All that is heard on the line from now on, what is retained included."""
    heard: list[tuple[str, bytes]] = []
    link = broker.link(client_id)
    link.subscribe("cell/#")
    link.start(lambda topic, payload: heard.append((topic, payload)), lambda: None)
    return heard


def test_who_comes_late_hears_the_last_verdict_of_each_pipeline() -> None:
    """The last verdict is retained per pipeline."""
    broker = LoopbackBroker()
    output = opened(broker)
    for n, pipeline in ((1, "surface"), (2, "surface"), (3, "noise")):
        output.send(judgement(n, pipeline))

    heard = {topic: json.loads(payload)["trigger"] for topic, payload in listen(broker)}

    assert heard == {"cell/4/surface/verdict": 2, "cell/4/noise/verdict": 3}


def test_the_heartbeat_counts_while_a_pipeline_lives() -> None:
    """Each period counts one further for a living pipeline, and nothing for a dead one: silence means reject."""
    broker = LoopbackBroker()
    heard = listen(broker)
    output = opened(broker)

    for tenth in range(31):
        output.beat(tenth * S // 10, ["surface"] if tenth < 15 else [])

    assert heard == [("cell/4/surface/heartbeat", b"1"), ("cell/4/surface/heartbeat", b"2")]


def test_an_old_count_is_never_taken_for_a_live_one() -> None:
    """The counter is not retained: who subscribes after the agent's death hears no heartbeat."""
    broker = LoopbackBroker()
    output = opened(broker)
    output.beat(0, ["surface"])
    broker.cut("output")

    heard = listen(broker)

    assert heard == []


def test_the_counter_fits_a_controller() -> None:
    """After 2^31 - 1 the counter begins again at 0."""
    broker = LoopbackBroker()
    heard = listen(broker)
    output = opened(broker)
    output._counts["surface"] = COUNTS - 2

    for second in range(2):
        output.beat(second * S, ["surface"])

    assert [payload for _, payload in heard] == [b"2147483647", b"0"]


def test_after_a_reconnect_the_last_verdict_is_the_retained_one() -> None:
    """A broker that was away, or forgot, hears the newest verdict as soon as it is back."""
    broker = LoopbackBroker()
    output = opened(broker)
    output.send(judgement(1))
    broker.cut("output")
    output.send(judgement(2))

    broker.restore("output")
    broker.restart()
    heard = listen(broker)

    assert [json.loads(payload)["trigger"] for _, payload in heard] == [2]


def test_a_broker_that_takes_nothing_more_is_a_failed_outcome() -> None:
    """A frozen broker never blocks the line: once its window is full the outcomes say so."""
    broker = LoopbackBroker()
    output = opened(broker)
    broker.freeze()

    outcomes = [output.send(judgement(n)) for n in range(40)]

    assert not outcomes[-1].ok
    assert "does not answer" in outcomes[-1].detail


def test_each_kind_of_table_makes_its_output(tmp_path: Path) -> None:
    """The table of kinds knows the constructor of every row."""
    tables: tuple[settings.Output, ...] = (
        settings.FileOutput(name="log", path=tmp_path / "v.jsonl"),
        settings.MqttOutput(name="plc", broker="mqtt://127.0.0.1:1"),
    )

    names = [make_output(table, "press-1").name for table in tables]

    assert names == ["log", "plc"]


def test_tls_files_that_cannot_be_used_are_refused_with_a_cure(tmp_path: Path) -> None:
    """A wrong authority file is a matter of configuration: exit 2, named by its output."""
    table = settings.MqttOutput(name="plc", broker="mqtts://127.0.0.1", ca_file=tmp_path / "none.pem")

    with pytest.raises(ConfigError, match=r"\[\[outputs\]\] 'plc'") as caught:
        make_output(table, "press-1")

    assert caught.value.hint
