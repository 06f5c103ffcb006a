"""What people look at."""

import pytest
from sqlalchemy import text

from cloud_hub.telemetry.events import describe
from cloud_hub.telemetry.views import fleet, gateway, recent_events, recent_verdicts, verdict_series
from edge_protocol import messages, topics
from edge_protocol.codes import ClockState, Stream
from edge_protocol.messages import Fault, Gap, Label, Link, Record, Started, Stopped, Uncertain, Update
from tests.simulators import START_US


def test_a_gateway_is_shown_with_what_runs_and_what_it_judged(bench) -> None:
    """
    What runs is by its own signed word, what it judged is by the rows that are here.
    """
    press = bench.gateway()
    press.judge(90)
    press.judge(10, verdict=1)
    press.send_held()
    press.send_state()
    bench.work()
    bench.clock.at_us = START_US + 10_000_000

    with bench.database.reading() as connection:
        view = gateway(connection, "press-1", bench.clock.wall_us())

    pipeline = view.pipelines[0]
    assert (view.place.site, view.place.line, view.agent_version, view.clock) == (
        "berlin",
        "press",
        "0.1.0",
        ClockState.OK,
    )
    assert (pipeline.name, pipeline.model, pipeline.variant, pipeline.p50_ms, pipeline.ready) == (
        "seal", "surface-anomaly", "fp32", 4.0, True,
    )  # fmt: skip
    assert pipeline.verdicts == {"OK": 90, "NG": 10, "REVIEW": 0, "UNINSPECTED": 0}
    assert (pipeline.rate_per_min, pipeline.ng_share, pipeline.triggers) == (100.0, 0.1, 100)
    assert view.account.balanced


def test_online_is_who_was_heard_lately_and_has_not_left(bench) -> None:
    """
    A gateway is online after a signed word, until it falls silent or its last will says that it left.
    """
    press = bench.gateway()

    def online() -> bool:
        with bench.database.reading() as connection:
            return gateway(connection, "press-1", bench.clock.wall_us()).online

    before = online()
    press.send_state()
    bench.work()
    heard = online()
    bench.clock.advance(21)
    silent = online()
    press.send_state()
    bench.work()
    press.link.publish(topics.up("press-1", "link"), messages.encode(Link(online=False)))
    bench.work()

    assert (before, heard, silent, online()) == (False, True, False, False)


def test_a_hint_of_a_stranger_makes_nobody_online(bench) -> None:
    """
    The unsigned hint alone proves nothing.
    """
    press = bench.gateway()
    press.link.publish(topics.up("press-1", "link"), messages.encode(Link(online=True)))
    bench.work()

    with bench.database.reading() as connection:
        assert not fleet(connection, bench.clock.wall_us())[0].online


def test_the_fleet_is_in_the_order_of_places(bench) -> None:
    """
    Gateways come by site, line and name, also those that were never heard of.
    """
    for name in ("press-2", "press-1"):
        bench.enrol(name)

    with bench.database.reading() as connection:
        assert [view.id for view in fleet(connection, bench.clock.wall_us())] == ["press-1", "press-2"]
        with pytest.raises(KeyError):
            gateway(connection, "press-3", 0)


def test_recent_verdicts_are_the_last_that_arrived(bench) -> None:
    """
    The newest come first, across batches and epochs, as many as asked for.
    """
    press = bench.gateway()
    press.judge(150)
    press.send_held(rows=40)
    bench.work()
    press.epoch = 3
    press.judge(5, verdict=3)
    press.send_held()
    bench.work()

    with bench.database.reading() as connection:
        found = recent_verdicts(connection, "press-1", 50)

    assert [view.trigger for view in found] == [5, 4, 3, 2, 1, *range(150, 105, -1)]
    assert (found[0].verdict, found[0].pipeline, found[0].part, found[0].latency_ms) == (
        "UNINSPECTED",
        "seal",
        "part-5",
        12.3,
    )
    assert (found[0].reason, found[0].bundle, found[0].version) == ("NONE", "surface-anomaly", "1.0.0")


def test_people_can_ask_for_verdicts_in_words(bench) -> None:
    """
    The view joins what belongs together and says verdict and reason in words; an unknown number stays a number.
    """
    press = bench.gateway()
    press.judge(2)
    press.judge(1, verdict=77)
    press.send_held()
    bench.work()

    with bench.database.reading() as connection:
        rows = connection.execute(text("SELECT * FROM verdict_list ORDER BY seq")).mappings().all()

    first = dict(rows[0])
    assert {name: first[name] for name in ("gateway", "site", "line", "pipeline", "verdict", "reason", "part")} == {
        "gateway": "press-1", "site": "berlin", "line": "press", "pipeline": "seal", "verdict": "OK", "reason": "NONE",
        "part": "part-1",
    }  # fmt: skip
    assert float(first["latency_ms"]) == 12.3
    assert [row["verdict"] for row in rows] == ["OK", "OK", "77"]


def test_a_series_has_every_bucket(bench) -> None:
    """
    Verdicts are counted by the time of their trigger; a bucket without any is a zero.
    """
    press = bench.gateway()
    press.judge(100)
    press.send(Stream.VERDICTS, 1, 20)
    press.send(Stream.VERDICTS, 80, 21)
    bench.work()

    with bench.database.reading() as connection:
        series = verdict_series(connection, "press-1", START_US + 500_000, 1)

    first = START_US // 1_000_000
    assert series["t"] == list(range(first, first + 6))
    assert series["OK"] == [10, 1, 0, 0, 20, 1]
    assert series["NG"] == [0] * 6


EVENTS: list[tuple[Record, str]] = [
    (Gap(epoch=1, stream="verdicts", first=1, last=60, reason="quota"), "verdicts 1 to 60 will not arrive: quota"),
    (Started(agent_version="1.2", clean=True), "agent 1.2 started after an orderly stop"),
    (Started(agent_version="1.2", clean=False, recovered=3), "agent 1.2 started after a crash, 3 trigger(s) recovered"),
    (Stopped(), "stopped"),
    (Stopped(reason="update"), "stopped: update"),
    (Fault(part="source", name="cam", reason="gone", active=True), "source cam is wrong: gone"),
    (
        Fault(part="source", name="cam", reason="gone", active=False, detail="back"),
        "source cam is right again: gone back",
    ),
    (
        Uncertain(from_us=1, to_us=2, first_trigger=3, last_trigger=9, reason="power cut"),
        "triggers 3 to 9 are uncertain: power cut",
    ),
]


@pytest.mark.parametrize(("record", "text"), EVENTS)
def test_an_event_is_told_in_a_sentence(record: Record, text: str) -> None:
    """
    Each kind of event has its sentence.
    """
    assert describe(messages.encode(record)) == text


def test_events_of_no_known_kind_are_told_too(bench) -> None:
    """
    Whatever lies in the events stream can be shown.
    """
    press = bench.gateway()
    label = Label(epoch=1, trigger=1, pipeline="seal", verdict=1, actor="me")
    press.record(Stream.EVENTS, Started(agent_version="1", clean=True), label)
    stock = press.stock(Stream.EVENTS)
    stock.rows.append(stock.rows[0].__class__(3, START_US, messages.encode(label).replace(b"label", b"libel")))
    stock.rows.append(stock.rows[0].__class__(4, START_US, b"\xc1"))
    stock.held = ((1, 4),)
    press.send_held()
    bench.work()

    with bench.database.reading() as connection:
        found = {event.kind: event.text for event in recent_events(connection, "press-1")}

    assert set(found) == {"started", "label", "libel", "malformed"}
    assert "does not know" in found["libel"]


def test_a_step_of_an_update_is_a_sentence() -> None:
    """
    An event says which pipeline, which release, which step, and why where that was a refusal.
    """
    refused = Update(pipeline="seal", step="refused", bundle="surface", version="1.2.0", refusal="SelfTestFailed",
                     detail="normalise differs")  # fmt: skip
    untrusted = Update(pipeline="", step="refused", refusal="NotTrusted", detail="models: a stranger's key")

    assert describe(messages.encode(refused)) == "seal surface 1.2.0 refused: SelfTestFailed normalise differs"
    assert describe(messages.encode(untrusted)) == "what came refused: NotTrusted models: a stranger's key"
