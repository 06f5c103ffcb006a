"""What every stream must do, checked on the double, on a file, and on a camera over the network."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_agent import settings
from edge_agent.errors import SourceError
from edge_agent.sources.stream import Delay, LiveCapture, OpenStream, Picture, open_camera, open_file
from tests.edge_agent.sources.rtsp_camera import RtspCamera
from tests.edge_agent.sources.streams import HttpCamera, Reel, frame, number, write_video

FRAMES = 5


CAMERAS: dict[str, type[HttpCamera | RtspCamera]] = {"http": HttpCamera, "rtsp": RtspCamera}


@pytest.fixture(params=["double", "file", "http", pytest.param("rtsp", marks=pytest.mark.slow)])
def open_stream(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStream]:
    """Opens a stream of each kind; what is finite has five frames."""
    if request.param in CAMERAS:
        with CAMERAS[request.param]() as camera:
            yield lambda: open_camera(settings.CameraSource(name="c", url=camera.url))
        return
    path = write_video(tmp_path / "film.avi", FRAMES)
    opens: dict[str, OpenStream] = {
        "double": lambda: Reel([*(frame(n) for n in range(FRAMES)), None]),
        "file": lambda: open_file(path),
    }
    yield opens[request.param]


def test_frames_are_pictures_in_bgr(open_stream: OpenStream) -> None:
    """Each frame is a uint8 picture [h, w, 3]."""
    stream = open_stream()
    pictures = [stream.read() for _ in range(FRAMES)]
    stream.close()

    assert [(p.shape, p.dtype.name) for p in pictures if p is not None] == [((48, 64, 3), "uint8")] * FRAMES


def test_frames_come_in_order_and_none_twice(open_stream: OpenStream) -> None:
    """One frame after the other, each once."""
    stream = open_stream()
    numbers = [number(p) for _ in range(FRAMES) if (p := stream.read()) is not None]
    stream.close()

    assert numbers == list(range(numbers[0], numbers[0] + FRAMES))


def test_what_was_read_does_not_change(open_stream: OpenStream) -> None:
    """A frame is the reader's own: later ones are not written into it."""
    stream = open_stream()
    first = stream.read()
    assert first is not None
    before = first.copy()
    for _ in range(FRAMES - 1):
        stream.read()
    stream.close()

    assert np.array_equal(first, before)


def test_after_the_end_there_is_nothing(open_stream: OpenStream) -> None:
    """A closed stream gives None, and closing twice is closing."""
    stream = open_stream()
    stream.read()
    stream.close()
    stream.close()

    assert stream.read() is None


def test_a_file_ends(tmp_path: Path) -> None:
    """After the last frame None comes, however often one asks."""
    stream = open_file(write_video(tmp_path / "film.avi", FRAMES))
    read = [stream.read() is not None for _ in range(FRAMES + 2)]
    stream.close()

    assert read == [True] * FRAMES + [False] * 2


@pytest.mark.parametrize("kind", CAMERAS.values(), ids=CAMERAS)
def test_a_camera_that_is_unplugged_ends_its_stream(kind: type[HttpCamera | RtspCamera]) -> None:
    """A connection that breaks is an end, not a frame for ever the same."""
    with kind() as camera:
        stream = open_camera(settings.CameraSource(name="c", url=camera.url, silent_s=1.0))
        assert stream.read() is not None

    has_ended = any(stream.read() is None for _ in range(100))
    stream.close()

    assert has_ended


def test_a_camera_that_falls_silent_ends_its_stream() -> None:
    """A connection that stands and brings nothing ends after `silent_s`: nobody waits for ever."""
    with RtspCamera() as camera:
        stream = open_camera(settings.CameraSource(name="c", url=camera.url, silent_s=0.3))
        assert stream.read() is not None
        camera.muted.set()

        has_ended = any(stream.read() is None for _ in range(100))
        stream.close()

    assert has_ended


def test_rtsp_is_carried_by_tcp() -> None:
    """Frames in the connection itself: a lost datagram is half a picture that looks like a whole one."""
    with RtspCamera() as camera:
        open_camera(settings.CameraSource(name="c", url=camera.url)).close()

    assert all("TCP" in transport for transport in camera.transports)
    assert camera.transports


@pytest.mark.parametrize("password", ["hunter2/@:", "wrong"])
def test_a_camera_shows_itself_to_who_knows_its_password(password: str, tmp_path: Path) -> None:
    """User and password go with the URL, whatever signs they hold; without them there is no stream."""
    secret = tmp_path / "password"
    secret.write_text(f"{password}\n")
    shown = None
    with RtspCamera(user="bob", password="hunter2/@:") as camera, contextlib.suppress(SourceError):
        table = settings.CameraSource(name="c", url=camera.url, user="bob", password_file=secret, open_s=2.0)
        stream = open_camera(table)
        shown = stream.read()
        stream.close()

    assert (shown is not None) is (password != "wrong")


class Burst:
    """What FFmpeg does after it has opened a live stream: frames it has collected come at once, then one per period."""

    def __init__(self, collected: int, stamped: bool = True) -> None:  # noqa: FBT001, FBT002
        self.collected, self.stamped, self.n, self.now_s = collected, stamped, 0, 0.0

    def read(self) -> tuple[bool, Picture]:
        self.n += 1
        self.now_s += 0.001 if self.n <= self.collected else 0.04
        return True, frame(self.n)

    def get(self, _what: int) -> float:
        return self.n * 40.0 if self.stamped else 0.0


@pytest.mark.parametrize(("collected", "stamped", "first"), [(12, True, 13), (0, True, 2), (12, False, 2)])
def test_what_was_collected_while_it_was_opened_is_no_live_frame(collected: int, stamped: bool, first: int) -> None:  # noqa: FBT001
    """The first frame of a live stream is one that came at its own pace; after it none is left out."""
    burst = Burst(collected, stamped)
    stream = LiveCapture(burst, now_s=lambda: burst.now_s)  # type: ignore[arg-type]

    numbers = [number(p) for _ in range(3) if (p := stream.read()) is not None]

    assert numbers == [first, first + 1, first + 2]


class Late:
    """A stream whose frames come so much later than they were taken, one after the other; a period is 40 ms."""

    def __init__(self, *lags_s: float) -> None:
        self.lags_s, self.n = lags_s, 0

    def read(self) -> tuple[bool, Picture]:
        self.n += 1
        return True, frame(self.n)

    def get(self, _what: int) -> float:
        return self.n * 40.0

    def now_s(self) -> float:
        return self.n * 0.04 + self.lags_s[min(self.n, len(self.lags_s)) - 1 if self.n else 0]

    def stream(self, max_lag_s: float) -> LiveCapture:
        return LiveCapture(self, max_lag_s, self.now_s)  # type: ignore[arg-type]


def test_frames_that_waited_for_their_reader_are_passed_over() -> None:
    """After a stall the frames of the past are not shown, and those after them are; a clock may be behind for ever."""
    late = Late(*[3600.0] * 9, 3602.0, 3601.5, 3601.1, 3600.9, 3600.2, 3600.0)
    stream = late.stream(max_lag_s=1.0)

    numbers = [number(p) for _ in range(11) if (p := stream.read()) is not None]

    assert numbers == [2, 3, 4, 5, 6, 7, 8, 9, 13, 14, 15]


def test_a_stream_that_stays_late_is_ended_with_the_cause() -> None:
    """A gateway that cannot keep up says so: parts become faults, not pictures of the parts before them."""
    late = Late(*[0.0] * 9, *(0.5 * n for n in range(100)))
    stream = late.stream(max_lag_s=1.0)

    with pytest.raises(SourceError, match=r"its frames come \d+\.\d s late") as caught:
        any(stream.read() is None for _ in range(100))

    assert caught.value.hint


def test_stamps_that_drift_are_no_lag() -> None:
    """The camera's clock runs 200 ppm slow for two hours: nothing is passed over."""
    delay = Delay()

    lags = [delay.see(float(second), second * (1 - 2e-4)) for second in range(7200)]

    assert max(lags) < 0.02


@pytest.mark.parametrize(
    "opens",
    [
        lambda folder: open_file(folder / "none.avi"),
        lambda folder: open_file(_text(folder / "words.avi")),
        lambda _folder: open_camera(settings.CameraSource(name="c", url="/dev/video999")),
        lambda _folder: open_camera(settings.CameraSource(name="c", url="http://127.0.0.1:9/", open_s=1.0)),
        lambda folder: open_camera(
            settings.CameraSource(name="c", url="rtsp://127.0.0.1:9/", user="u", password_file=folder / "none")
        ),
    ],
    ids=["no file", "no video", "no device", "nobody there", "no password"],
)
def test_what_cannot_be_opened_says_so(opens: Callable[[Path], object], tmp_path: Path) -> None:
    """A SourceError with a cure, whatever it is."""
    with pytest.raises(SourceError) as caught:
        opens(tmp_path)

    assert caught.value.hint


def test_a_password_is_never_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What is said of a camera that refuses us names its URL without user and password."""
    secret = tmp_path / "password"
    secret.write_text("hunter2/@\n")
    camera = settings.CameraSource(name="c", url="rtsp://127.0.0.1:9/s", user="bob", password_file=secret, open_s=1.0)

    with pytest.raises(SourceError) as caught:
        open_camera(camera)

    heard = capfd.readouterr()
    assert "hunter2" not in str(caught.value) + caught.value.hint + heard.out + heard.err


def _text(path: Path) -> Path:
    path.write_text("no video")
    return path
