"""What every source must do, checked on each kind."""

import http.client
import itertools
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import skimage

from edge_agent import settings
from edge_agent.sample import Sample, Trigger
from edge_agent.sources.camera import CameraSource
from edge_agent.sources.kinds import KINDS, make_source
from edge_agent.sources.mqtt import MqttSource
from edge_agent.sources.push import PushSource
from edge_agent.sources.source import Source
from edge_protocol.codes import Reason, Verdict
from edge_protocol.loopback import LoopbackBroker
from tests.edge_agent.sources.streams import Socket, eventually, frame, write_video

S = 1_000_000


@dataclass
class Bench:
    """A source with a way to take its data from it, and one to let a part come at a time."""

    source: Source
    take_away: Callable[[], object]
    feed: Callable[[int], object] = lambda _mono_us: None
    close: Callable[[], object] = lambda: None


def folder_bench(folder: Path) -> Bench:
    """A folder with a dozen files."""
    folder.mkdir()
    for n in range(12):
        (folder / f"{n:02}.png").write_bytes(b"picture")
    source = make_source(settings.FolderSource(name="camera", path=folder, settle_s=0))
    return Bench(source, lambda: shutil.rmtree(folder))


def textures_bench(folder: Path) -> Bench:
    """A replay of one surface."""
    folder.mkdir()
    shutil.copy(Path(skimage.__file__).parent / "data" / "brick.png", folder)
    source = make_source(settings.ReplaySource(name="camera", scene="textures", path=folder))
    return Bench(source, lambda: shutil.rmtree(folder))


def windows_bench(path: Path) -> Bench:
    """A replay of a table of windows."""
    np.savetxt(path, np.column_stack([np.ones(4) * -1, np.random.default_rng(0).normal(size=(4, 50))]))
    source = make_source(settings.ReplaySource(name="engine", scene="windows", path=path))
    return Bench(source, path.unlink)


def video_bench(path: Path) -> Bench:
    """A video that is played over and over."""
    film = write_video(path.with_suffix(".avi"), 4)
    return Bench(make_source(settings.VideoSource(name="camera", path=film)), film.unlink)


def recorded_bench(path: Path) -> Bench:
    """A recorded signal that is played over and over."""
    table = path.with_suffix(".csv")
    np.savetxt(table, np.arange(12))
    return Bench(make_source(settings.RecordedSource(name="engine", path=table, length=4)), table.unlink)


def camera_bench(_path: Path) -> Bench:
    """A camera whose frames come when they are asked for."""
    socket, now, shown = Socket(), Moment(), itertools.count()
    table = settings.CameraSource(name="camera", url="0", backoff_s=0.01, fresh_ms=5000, silent_s=3600)

    def feed(mono_us: int) -> None:
        now.us = mono_us
        socket.is_plugged.set()
        socket.pictures.put(frame(next(shown)))

    socket.is_plugged.set()
    return Bench(CameraSource(table, socket.open, now), socket.is_plugged.clear, feed, socket.is_plugged.clear)


def mqtt_bench(_path: Path) -> Bench:
    """A topic at a broker in memory."""
    broker, now, said = LoopbackBroker(), Moment(), itertools.count()
    sensor = broker.link("sensor", window=10_000)
    sensor.start(lambda _topic, _payload: None, lambda: None)
    table = settings.MqttSource(name="engine", broker="mqtt://127.0.0.1", topic="line/window")
    source = MqttSource(table, lambda: broker.link("source"), now)

    def feed(mono_us: int) -> None:
        source.waiting(mono_us)
        now.us = mono_us
        sensor.publish("line/window", b'{"signal": [%d]}' % next(said))

    return Bench(source, lambda: broker.cut("source"), feed)


def push_bench(_path: Path) -> Bench:
    """A port to which parts are sent; who sends does not wait."""
    now, sent = Moment(), itertools.count()
    source = PushSource(settings.PushSource(name="cell", port=0, take_s=60), now)
    senders = ThreadPoolExecutor(8)

    def feed(mono_us: int) -> None:
        now.us = mono_us
        senders.submit(post, source.port, b'{"signal": [%d]}' % next(sent))
        eventually(lambda: source.waiting(mono_us))

    return Bench(source, lambda: None, feed)


def post(port: int, body: bytes) -> None:
    """Send a part."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    with suppress(OSError, http.client.HTTPException), closing(connection):
        connection.request("POST", "/parts", body, {"Content-Type": "application/json"})
        connection.getresponse().read()


class Moment:
    """The time that a part came."""

    us = 0

    def __call__(self) -> int:
        return self.us


BENCHES = {
    "folder": folder_bench,
    "textures": textures_bench,
    "windows": windows_bench,
    "video": video_bench,
    "recorded": recorded_bench,
    "camera": camera_bench,
    "mqtt": mqtt_bench,
    "push": push_bench,
}


@pytest.fixture(params=list(BENCHES.values()), ids=list(BENCHES))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """An open source of each kind."""
    made: Bench = request.param(tmp_path / "data")
    made.source.open()
    yield made
    made.close()
    made.source.close()


def fed(bench: Bench, n: int) -> Sample:
    """The sample of the n-th trigger, its part there in time."""
    bench.feed(n * S)
    return bench.source.grab(trigger(n))


def content(sample: Sample) -> object:
    """What tells one part from another: its name, else what was seen of it."""
    data = next(iter(sample.channels.values())).data
    return sample.part or (data if isinstance(data, bytes) else data.tobytes())


def trigger(n: int) -> Trigger:
    """The n-th trigger, a second after the one before."""
    return Trigger(1, n, 0, n * S)


def test_every_kind_is_under_contract() -> None:
    """No kind of source is left out of these tests."""
    assert {table.__struct_config__.tag for table in KINDS} == set(BENCHES) - {"textures", "windows"} | {"replay"}


def test_each_trigger_gets_its_own_part(bench: Bench) -> None:
    """Ten triggers are ten parts, each with one channel taken at the trigger's time."""
    samples = [fed(bench, n) for n in range(10)]

    assert {sample.fault for sample in samples} == {Reason.NONE}
    assert len({content(sample) for sample in samples}) == 10
    assert [next(iter(s.channels.values())).mono_us for s in samples] == [n * S for n in range(10)]


def test_a_source_says_whether_something_waits(bench: Bench) -> None:
    """What waits can be grabbed."""
    bench.feed(S)

    eventually(lambda: bench.source.waiting(S))

    assert bench.source.grab(trigger(2)).fault is Reason.NONE


def test_grabbing_never_raises_when_the_data_has_gone(bench: Bench) -> None:
    """Whatever happens to the data, a trigger gets a sample: with what is still known, or with a fault."""
    fed(bench, 1)
    bench.take_away()

    samples = [bench.source.grab(trigger(n)) for n in range(2, 20)]

    assert all(sample.channels or sample.fault is not Reason.NONE for sample in samples)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_verdicts_may_come_late_and_in_any_order(bench: Bench, verdict: Verdict) -> None:
    """`done` follows the grabs in whatever order the pipelines answer, and for unknown triggers it is nothing."""
    for n in range(3):
        fed(bench, n)

    for n in (2, 0, 1, 99):
        bench.source.done(trigger(n), verdict)

    assert fed(bench, 4).fault is Reason.NONE


def test_a_source_can_be_closed_twice_and_opened_again(bench: Bench) -> None:
    """Reopening after a fault is the ordinary way back."""
    bench.close()
    bench.source.close()
    bench.source.close()

    bench.source.open()

    eventually(lambda: fed(bench, 9).fault is Reason.NONE)


def test_what_was_given_does_not_change(bench: Bench) -> None:
    """A sample's data stays as it was until its verdict is shown, whatever comes after it."""
    first = fed(bench, 1)
    before = content(first), bytes(next(iter(first.channels.values())).data)
    for n in range(2, 6):
        fed(bench, n)

    assert (content(first), bytes(next(iter(first.channels.values())).data)) == before
