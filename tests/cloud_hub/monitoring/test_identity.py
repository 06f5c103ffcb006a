"""The alarm on a cloned identity."""

from cloud_hub.monitoring import identity, views
from cloud_hub.monitoring.alarms import CLONED, Subject, clear
from cloud_hub.monitoring.views import AlarmView
from edge_protocol.codes import Stream


def look(bench) -> list[AlarmView]:
    """Let the watch look; answers with all alarms."""
    bench.clock.advance(1)
    with bench.database.writing() as connection:
        identity.tick(connection, bench.clock.wall_us())
    with bench.database.reading() as connection:
        return views.alarms(connection)


def test_a_clone_raises_one_alarm(bench) -> None:
    """
    Contradicting rows raise an alarm on their gateway, once, however many there are; resent rows raise none.
    """
    key = bench.enrol("press-1")
    original = bench.gateway(key=key)
    original.judge(10)
    for _ in range(2):
        original.send(Stream.VERDICTS, 1, 10)
        bench.work()
    assert look(bench) == []
    clone = bench.gateway(client="clone", key=key)
    clone.judge(10, verdict=1)

    for first in (1, 2, 3):
        clone.send(Stream.VERDICTS, first, 2)
        bench.work()
        look(bench)

    (alarm,) = look(bench)
    assert (alarm.gateway, alarm.kind, alarm.active) == ("press-1", CLONED, True)
    assert "3 message(s)" in alarm.text


def test_a_cleared_alarm_comes_back_only_with_news(bench) -> None:
    """
    What was seen before somebody cleared the alarm is settled; another contradiction is a new alarm.
    """
    key = bench.enrol("press-1")
    original = bench.gateway(key=key)
    original.judge(10)
    original.send(Stream.VERDICTS, 1, 10)
    bench.work()
    clone = bench.gateway(client="clone", key=key)
    clone.judge(10, verdict=1)
    clone.send(Stream.VERDICTS, 1, 2)
    bench.work()
    look(bench)

    with bench.database.writing() as connection:
        clear(connection, Subject("press-1", CLONED), bench.clock.wall_us())
    settled = look(bench)
    clone.send(Stream.VERDICTS, 5, 2)
    bench.work()

    assert [alarm.active for alarm in settled] == [False]
    assert [alarm.active for alarm in look(bench)] == [True, False]
