"""The laws of played files."""

from pathlib import Path

import cv2
import pytest

from edge_agent import settings
from edge_agent.errors import SourceError
from edge_agent.sample import Sample, Trigger
from edge_agent.sources.video import VideoSource
from edge_protocol.codes import Reason
from tests.edge_agent.sources.streams import frame, number, write_video


def opened(path: Path, *, loop: bool = True) -> VideoSource:
    """An open source that plays `path`."""
    source = VideoSource(settings.VideoSource(name="camera", path=path, loop=loop))
    source.open()
    return source


def grab(source: VideoSource, n: int) -> Sample:
    """The sample of the n-th trigger."""
    return source.grab(Trigger(1, n, 0, 7))


def test_each_trigger_gets_the_next_frame(tmp_path: Path) -> None:
    """The trigger sets the pace: no frame is left out, none comes twice, and all are replayed."""
    source = opened(write_video(tmp_path / "belt.avi", 5))

    samples = [grab(source, n) for n in range(5)]
    source.close()

    assert [number(s.channels["image"].data) for s in samples] == [0, 1, 2, 3, 4]  # type: ignore[arg-type]
    assert [(s.part, s.number, s.replayed) for s in samples][:2] == [
        ("belt-000001", 1, True),
        ("belt-000002", 2, True),
    ]


def test_a_loop_begins_again_and_counts_on(tmp_path: Path) -> None:
    """After the last frame comes the first, as another part."""
    source = opened(write_video(tmp_path / "belt.avi", 3))

    samples = [grab(source, n) for n in range(7)]
    source.close()

    assert [number(s.channels["image"].data) for s in samples] == [0, 1, 2, 0, 1, 2, 0]  # type: ignore[arg-type]
    assert [s.number for s in samples] == [1, 2, 3, 4, 5, 6, 7]


def test_without_a_loop_the_end_is_a_fault(tmp_path: Path) -> None:
    """Nothing waits after the last frame, and who asks all the same is told."""
    source = opened(write_video(tmp_path / "belt.avi", 2), loop=False)
    waiting = []
    for n in range(2):
        waiting.append(source.waiting(0))
        grab(source, n)

    after = grab(source, 3)
    has_more = source.waiting(0)
    source.close()

    assert (waiting, has_more) == ([True, True], False)
    assert (after.fault, after.channels) == (Reason.SOURCE_FAULT, {})
    assert "played to its end" in after.detail


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_is_shown_as_it_is_encoded(suffix: str, tmp_path: Path) -> None:
    """The bytes of a PNG or JPEG come undecoded, so that they are checked as every other picture is."""
    path = tmp_path / f"part{suffix}"
    cv2.imwrite(str(path), frame(7))
    source = opened(path)

    samples = [grab(source, n) for n in range(3)]
    source.close()

    assert [s.channels["image"].data for s in samples] == [path.read_bytes()] * 3
    assert len({s.part for s in samples}) == 3


def test_a_file_that_cannot_be_played_is_refused_with_a_cure(tmp_path: Path) -> None:
    """Nothing there, or no picture in it: said when it is opened."""
    words = tmp_path / "words.avi"
    words.write_text("no video")

    for path in (tmp_path / "none.avi", words):
        with pytest.raises(SourceError) as caught:
            opened(path)
        assert caught.value.hint


def test_a_file_that_goes_away_while_it_loops_is_a_fault(tmp_path: Path) -> None:
    """What cannot begin again says why, and the file may come back."""
    path = write_video(tmp_path / "belt.avi", 2)
    source = opened(path)
    path.unlink()

    faults = [grab(source, n).fault for n in range(3)]
    write_video(path, 2)
    source.open()
    back = grab(source, 4)
    source.close()

    assert faults == [Reason.NONE, Reason.NONE, Reason.SOURCE_FAULT]
    assert back.fault is Reason.NONE
