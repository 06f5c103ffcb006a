"""What every stream must do, checked on the double, on a file, and on a camera over the network."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_agent import settings
from edge_agent.errors import SourceError
from edge_agent.sources.stream import OpenStream, open_camera, open_file
from tests.edge_agent.sources.streams import HttpCamera, Reel, frame, number, write_video

FRAMES = 5


@pytest.fixture(params=["double", "file", "camera"])
def open_stream(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStream]:
    """Opens a stream of each kind; what is finite has five frames."""
    if request.param == "camera":
        camera = HttpCamera()
        yield lambda: open_camera(settings.CameraSource(name="c", url=camera.url))
        camera.unplug()
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


def test_a_camera_that_is_unplugged_ends_its_stream() -> None:
    """A connection that breaks is an end, not a frame for ever the same."""
    camera = HttpCamera()
    stream = open_camera(settings.CameraSource(name="c", url=camera.url, silent_s=1.0))
    assert stream.read() is not None
    camera.unplug()

    has_ended = any(stream.read() is None for _ in range(100))
    stream.close()

    assert has_ended


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
