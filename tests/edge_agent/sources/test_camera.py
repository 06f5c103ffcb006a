"""The laws of live cameras."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge_agent.clock import system_mono_us
from edge_agent.errors import SourceError
from edge_agent.sample import Sample, Trigger
from edge_agent.settings import CameraSource as Settings
from edge_agent.sources.camera import GRACE_US, CameraSource, pause_s
from edge_agent.sources.stream import Picture
from edge_protocol.codes import Reason
from tests.edge_agent.sources.rtsp_camera import RtspCamera
from tests.edge_agent.sources.streams import PATIENCE_S, Cinema, HttpCamera, Reel, eventually, frame, number

S = 1_000_000


class Hand:
    """Time that a test moves, and everybody who reads it hears of the same moment."""

    def __init__(self) -> None:
        self.us = 100 * S

    def __call__(self) -> int:
        return self.us


class Stand:
    """A camera source on reels, with the time in a test's hand."""

    def __init__(self, *reels: Reel, **keys: Any) -> None:
        self.clock = Hand()
        self.cinema = Cinema(*reels)
        table = Settings(name="camera", url="/dev/video0", **{"backoff_s": 0.01, "fresh_ms": 0, **keys})
        self.source = CameraSource(table, self.cinema.open, self.clock)
        self.n = 0

    def show(self, reel: Reel, *pictures: Picture) -> None:
        """Let these frames come, and wait until the source has seen the last."""
        reader = self.source._reader
        assert reader is not None
        before = newest.number if (newest := reader.newest()) is not None else 0
        for picture in pictures:
            reel.pictures.put(picture)
        wanted = before + len(pictures)
        eventually(lambda: (newest := reader.newest()) is not None and newest.number == wanted)

    def grab(self, after_us: int = 0) -> Sample:
        """The sample of a trigger that fires so long from now."""
        self.n += 1
        return self.source.grab(Trigger(1, self.n, 0, self.clock.us + after_us))


def seen(sample: Sample) -> int | Reason:
    """The number of the frame of a sample, or its fault."""
    return number(sample.channels["image"].data) if sample.channels else sample.fault  # type: ignore[arg-type]


@pytest.fixture
def stand() -> Iterator[Callable[..., Stand]]:
    """Makes open cameras and closes them, reels first, so that nobody waits for a frame."""
    made: list[tuple[Stand, tuple[Reel, ...]]] = []

    def make(*reels: Reel, **keys: Any) -> Stand:
        one = Stand(*reels, **keys)
        made.append((one, reels))
        one.source.open()
        return one

    yield make
    for one, reels in made:
        for reel in reels:
            reel.pictures.put(None)
        one.source.close()


def test_an_old_frame_is_never_a_new_parts(stand: Callable[..., Stand]) -> None:
    """A frame from before the trigger shows another part: without a later one the part has no picture."""
    reel = Reel()
    camera = stand(reel)
    camera.show(reel, frame(1))

    before = camera.grab(after_us=1)
    camera.show(reel, frame(2))
    after = camera.grab()

    assert (seen(before), seen(after)) == (Reason.SOURCE_FAULT, 2)
    assert "no frame of its own" in before.detail


def test_a_trigger_waits_for_its_frame(stand: Callable[..., Stand]) -> None:
    """The frame that comes while the trigger waits is its frame, stamped when it came."""
    reel = Reel()
    camera = stand(reel, fresh_ms=5000)
    camera.show(reel, frame(1))
    trigger = Trigger(1, 1, 0, camera.clock.us + 1)

    camera.clock.us += 1000
    late = threading.Timer(0.05, reel.pictures.put, [frame(2)])
    late.start()
    sample = camera.source.grab(trigger)
    late.join()

    assert (seen(sample), sample.channels["image"].mono_us) == (2, camera.clock.us)


def test_a_frame_may_be_as_old_as_allowed(stand: Callable[..., Stand]) -> None:
    """`max_age_ms` lets a frame from just before the trigger pass, and none that is older."""
    reel = Reel()
    camera = stand(reel, max_age_ms=100)
    camera.show(reel, frame(1))
    young = camera.grab(after_us=100_000)
    camera.show(reel, frame(2))
    old = camera.grab(after_us=100_001)

    assert (seen(young), seen(old)) == (1, Reason.SOURCE_FAULT)


def test_no_two_parts_share_a_frame(stand: Callable[..., Stand]) -> None:
    """A second trigger within one period of the camera does not get the frame of the first."""
    reel = Reel()
    camera = stand(reel, max_age_ms=1000)
    camera.show(reel, frame(1))

    first, second = camera.grab(), camera.grab()

    assert (seen(first), seen(second)) == (1, Reason.SOURCE_FAULT)


def test_only_the_newest_frame_is_kept(stand: Callable[..., Stand]) -> None:
    """Frames that no trigger wanted are gone: the part sees now, not what waited in a queue."""
    reel = Reel()
    camera = stand(reel)
    camera.show(reel, *(frame(n) for n in range(9)))

    assert seen(camera.grab()) == 8


def test_with_a_source_trigger_each_frame_is_a_part(stand: Callable[..., Stand]) -> None:
    """The frame that made the trigger fire is the frame it gets, though it came before; then nothing waits."""
    reel = Reel()
    camera = stand(reel)
    seen_frames = []
    for n in range(3):
        camera.show(reel, frame(n))
        camera.clock.us += 1000
        assert camera.source.waiting(camera.clock.us)
        seen_frames.append(seen(camera.grab()))

    assert seen_frames == [0, 1, 2]
    assert not camera.source.waiting(camera.clock.us)


def test_equal_frames_for_too_long_are_a_frozen_camera(stand: Callable[..., Stand]) -> None:
    """A stream that goes on without changing is FROZEN, and sound again with the first other frame."""
    reel = Reel()
    camera = stand(reel, frozen_s=2.0)
    found = []
    for n in (1, 1, 1, 2):
        camera.show(reel, frame(n))
        found.append(seen(camera.grab()))
        camera.clock.us += S

    assert found == [1, 1, Reason.FROZEN, 2]


def test_a_silent_camera_is_told(stand: Callable[..., Stand]) -> None:
    """A stream that stands and gives nothing is away: its triggers say so, and so does whoever asks for parts."""
    reel = Reel()
    camera = stand(reel, silent_s=5.0)
    camera.show(reel, frame(1))
    camera.clock.us += 6 * S

    sample = camera.grab()

    assert (sample.fault, sample.detail) == (Reason.SOURCE_FAULT, "no frame for 6.0 s")
    with pytest.raises(SourceError, match="no frame for"):
        camera.source.waiting(camera.clock.us)


def test_a_stream_that_ends_is_opened_again(stand: Callable[..., Stand]) -> None:
    """After each end the next stream is read, the old one closed."""
    first, second = Reel([frame(1), None]), Reel()
    camera = stand(first, second)
    eventually(lambda: first.closed == 1)

    camera.show(second, frame(7))

    assert seen(camera.grab()) == 7


def test_a_stream_that_ends_with_a_cause_says_it(stand: Callable[..., Stand]) -> None:
    """What a stream knows of its end is what its triggers say."""
    reel = Reel([frame(1), SourceError("its frames come 9.0 s late")])
    camera = stand(reel, Reel())
    eventually(lambda: reel.closed == 1)

    eventually(lambda: camera.grab(after_us=1).detail == "its frames come 9.0 s late")


def test_a_camera_that_is_away_is_asked_again_and_again(stand: Callable[..., Stand]) -> None:
    """At the start it may be away: triggers say why, at once, until it comes."""
    reel = Reel()
    camera = stand(fresh_ms=5000)
    for _ in range(3):
        assert camera.cinema.asked.get(timeout=PATIENCE_S) is False
    away = camera.grab()

    camera.cinema.reels.append(reel)
    reel.pictures.put(frame(3))
    came = camera.grab()
    reel.pictures.put(None)

    assert (away.fault, away.detail) == (Reason.SOURCE_FAULT, "the camera does not answer")
    assert seen(came) in {3, Reason.SOURCE_FAULT}


def test_who_waits_for_frames_hears_that_the_camera_is_away(stand: Callable[..., Stand]) -> None:
    """After a grace `waiting` and another `open` raise, with the cause, until a frame comes."""
    camera = stand()
    camera.cinema.asked.get(timeout=PATIENCE_S)
    assert not camera.source.waiting(camera.clock.us)
    eventually(lambda: camera.grab().detail == "the camera does not answer")
    camera.clock.us += GRACE_US

    with pytest.raises(SourceError, match="does not answer"):
        camera.source.waiting(camera.clock.us)
    with pytest.raises(SourceError, match="does not answer"):
        camera.source.open()


def test_pauses_grow_and_end(stand: Callable[..., Stand]) -> None:
    """Each failure doubles the pause up to its limit, and two cameras are never in step."""
    pauses = [pause_s(n, 10.0) for n in range(40)]

    assert 0.25 <= pauses[0] <= 0.5
    assert all(5.0 <= pause <= 10.0 for pause in pauses[5:])
    assert len(set(pauses)) == 40


@pytest.mark.parametrize("kind", [HttpCamera, pytest.param(RtspCamera, marks=pytest.mark.slow)])
def test_a_camera_on_the_network_comes_back_after_it_was_unplugged(kind: type[HttpCamera | RtspCamera]) -> None:
    """A real stream over HTTP or RTSP: frames, then faults while it is gone, then frames of the same camera again."""
    found: list[Reason] = []

    def grab() -> Reason:
        found.append(source.grab(Trigger(1, len(found), 0, system_mono_us())).fault)
        return found[-1]

    with kind() as camera:
        table = Settings(name="c", url=camera.url, backoff_s=0.05, silent_s=1.0, open_s=1.0, fresh_ms=200)
        source = CameraSource(table)
        source.open()
        eventually(lambda: grab() is Reason.NONE)
    eventually(lambda: grab() is Reason.SOURCE_FAULT)
    with kind(camera.port):
        eventually(lambda: grab() is Reason.NONE)
        source.close()

    assert set(found) == {Reason.NONE, Reason.SOURCE_FAULT}
