"""What everything must do that says when a part is there, checked on each kind."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_agent import settings
from edge_agent.sources.kinds import TICKERS, make_source, make_ticker
from edge_agent.sources.mqtt_trigger import MqttTrigger
from edge_agent.sources.triggers import WAIT_S, Tick, Ticker
from edge_protocol.loopback import LoopbackBroker

S = 1_000_000


@dataclass
class Bench:
    """A ticker with a way to let a part come at a time."""

    ticker: Ticker
    come: Callable[[int], object]


def timer_bench(_folder: Path) -> Bench:
    """A timer of one part a second."""
    return Bench(make_ticker(settings.TimerTrigger(name="t", rate_hz=1), {}), lambda _mono_us: None)


def source_bench(folder: Path) -> Bench:
    """A folder that is looked at; whoever asks takes the file."""
    source = make_source(settings.FolderSource(name="camera", path=folder, settle_s=0))
    source.open()
    ticker = make_ticker(settings.SourceTrigger(name="t", source="camera"), {"camera": source})

    class Taking:
        def poll(self, mono_us: int) -> Tick | None:
            tick = ticker.poll(mono_us)
            if tick is not None:
                next(folder.glob("*.png")).unlink()
                source.close()
            return tick

        idle_s, close = ticker.idle_s, ticker.close

    return Bench(Taking(), lambda mono_us: (folder / f"{mono_us}.png").write_bytes(b"x"))


def mqtt_bench(_folder: Path) -> Bench:
    """A topic at a broker in memory."""
    broker, now = LoopbackBroker(), [0]
    line = broker.link("line")
    line.start(lambda _topic, _payload: None, lambda: None)
    table = settings.MqttTrigger(name="t", broker="mqtt://127.0.0.1", topic="line/part")
    ticker = MqttTrigger(table, lambda: broker.link("trigger"), lambda: now[0])
    ticker.poll(0)

    def come(mono_us: int) -> None:
        now[0] = mono_us
        line.publish("line/part", b"")

    return Bench(ticker, come)


BENCHES = {"timer": timer_bench, "source": source_bench, "mqtt": mqtt_bench}


@pytest.fixture(params=list(BENCHES.values()), ids=list(BENCHES))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """A ticker of each kind, asked once so that its time has begun."""
    made: Bench = request.param(tmp_path)
    made.ticker.poll(0)
    return made


def test_every_kind_is_under_contract() -> None:
    """No kind of trigger is left out of these tests."""
    assert set(TICKERS) == {settings.TimerTrigger, settings.SourceTrigger, settings.MqttTrigger}


def test_each_part_is_one_tick(bench: Bench) -> None:
    """A part that came is told once, when it came, and then nothing until the next one."""
    ticks = []
    for second in range(1, 6):
        bench.come(second * S)
        ticks += [bench.ticker.poll(second * S), bench.ticker.poll(second * S + 1)]

    assert [tick.due_us if tick else None for tick in ticks] == [
        due for second in range(1, 6) for due in (second * S, None)
    ]
    assert not any(tick.missed for tick in ticks if tick)


def test_waiting_never_takes_long(bench: Bench) -> None:
    """Whoever waits as told still hears within a quarter of a second that it shall stop."""
    waits = [bench.ticker.idle_s(step * S // 10) for step in range(20)]

    assert all(0 <= wait <= WAIT_S for wait in waits)


def test_who_is_closed_and_asked_again_listens_again(bench: Bench) -> None:
    """However often it was closed: the part that comes after it is asked is told, and nothing in between is made up."""
    bench.ticker.close()
    bench.ticker.close()

    nothing = bench.ticker.poll(1)
    bench.come(S)
    tick = bench.ticker.poll(S)

    assert (nothing, tick) == (None, Tick(S))
