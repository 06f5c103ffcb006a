import os
from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import SourceError
from edge_agent.sample import Trigger
from edge_agent.settings import FolderSource as Settings
from edge_agent.sources.folder import LOOK_US, FolderSource
from edge_protocol.codes import Reason, Verdict

S = 1_000_000


def opened(folder: Path, **keys: Any) -> FolderSource:
    """A source on `folder` that takes what has not changed for a second."""
    source = FolderSource(Settings(name="camera", path=folder, **{"settle_s": 1.0, **keys}))
    source.open()
    return source


def trigger(n: int, mono_us: int = 0) -> Trigger:
    """The n-th trigger."""
    return Trigger(1, n, 0, mono_us)


def settled(source: FolderSource, at_us: int = 0) -> None:
    """Let the source see its files twice, long enough apart."""
    source.waiting(at_us)
    assert source.waiting(at_us + 2 * S)


def names(folder: Path) -> list[str]:
    """The files in `folder`."""
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_a_file_is_moved_only_when_its_verdict_is_known(tmp_path: Path) -> None:
    """Until its verdict a file stays where it was put, so that a kill loses no part."""
    (tmp_path / "part-7.png").write_bytes(b"picture")
    source = opened(tmp_path)
    settled(source)

    sample = source.grab(trigger(1, 5))
    before = names(tmp_path)
    source.done(trigger(1), Verdict.OK)

    assert (sample.part, sample.channels["image"].data, sample.channels["image"].mono_us) == ("part-7", b"picture", 5)
    assert before == ["part-7.png"]
    assert names(tmp_path) == []
    assert names(tmp_path / "processed") == ["part-7.png"]


@pytest.mark.parametrize(
    ("verdict", "place"),
    [
        (Verdict.OK, "processed"),
        (Verdict.NG, "processed"),
        (Verdict.REVIEW, "processed"),
        (Verdict.UNINSPECTED, "failed"),
    ],
)
def test_only_what_could_not_be_inspected_goes_to_failed(tmp_path: Path, verdict: Verdict, place: str) -> None:
    """Every judged part goes to `processed`, whatever was said of it."""
    (tmp_path / "a.png").write_bytes(b"a")
    source = opened(tmp_path)
    settled(source)

    source.grab(trigger(1))
    source.done(trigger(1), verdict)

    assert names(tmp_path / place) == ["a.png"]


def test_a_file_that_still_grows_is_not_taken(tmp_path: Path) -> None:
    """A half-written file is never judged: it is taken when it has not changed for `settle_s`."""
    path = tmp_path / "a.png"
    path.write_bytes(b"a")
    source = opened(tmp_path)

    seen = [source.waiting(0)]
    path.write_bytes(b"ab")
    seen.append(source.waiting(2 * S))
    path.write_bytes(b"abc")
    seen.append(source.waiting(4 * S))
    seen.append(source.waiting(6 * S))

    assert seen == [False, False, False, True]
    assert source.grab(trigger(1)).channels["image"].data == b"abc"


def test_a_file_that_shrinks_after_it_was_chosen_is_judged_as_it_is_then_or_not_at_all(tmp_path: Path) -> None:
    """A file that has gone between the look and the grab still gives its trigger a sample, with a fault."""
    path = tmp_path / "a.png"
    path.write_bytes(b"a")
    source = opened(tmp_path)
    settled(source)

    path.unlink()
    sample = source.grab(trigger(1))
    source.done(trigger(1), Verdict.UNINSPECTED)

    assert (sample.fault, sample.part) == (Reason.UNREADABLE, "a")


def test_the_oldest_file_comes_first(tmp_path: Path) -> None:
    """Parts are judged in the order in which their files were written."""
    for age, name in enumerate(("b.png", "c.png", "a.png")):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (1000 + age, 1000 + age))
    source = opened(tmp_path)
    settled(source)

    parts = [source.grab(trigger(n)).part for n in range(3)]

    assert parts == ["b", "c", "a"]


def test_unfinished_hidden_linked_and_unwanted_files_are_left_alone(tmp_path: Path) -> None:
    """Only plain files that match the pattern and carry no sign of being unfinished are taken."""
    (tmp_path / "real.png").write_bytes(b"x")
    for name in (".a.png", "b.png.tmp", "c.png.part", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "d.png").symlink_to(tmp_path / "real.png")
    (tmp_path / "e.png").mkdir()
    source = opened(tmp_path, pattern="*.png*")
    settled(source)

    parts = [source.grab(trigger(1)).part]

    assert parts == ["real"]
    assert not source.waiting(9 * S)


def test_what_was_not_done_before_a_kill_is_delivered_again(tmp_path: Path) -> None:
    """A file without a verdict is found again by the next run."""
    (tmp_path / "a.png").write_bytes(b"x")
    killed = opened(tmp_path)
    settled(killed)
    killed.grab(trigger(1))

    source = opened(tmp_path)
    settled(source)

    assert source.grab(trigger(2)).part == "a"


def test_a_grabbed_file_is_not_delivered_twice(tmp_path: Path) -> None:
    """While a verdict is on its way no other trigger gets the same file."""
    (tmp_path / "a.png").write_bytes(b"x")
    source = opened(tmp_path)
    settled(source)

    source.grab(trigger(1))

    assert not source.waiting(4 * S)
    assert not source.waiting(8 * S)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A second file of the same name is put beside the first."""
    source = opened(tmp_path)
    for n in (1, 2):
        (tmp_path / "a.png").write_bytes(b"%d" % n)
        settled(source, n * 10 * S)
        source.grab(trigger(n))
        source.done(trigger(n), Verdict.OK)

    kept = {path.name: path.read_bytes() for path in (tmp_path / "processed").iterdir()}

    assert kept == {"a.png": b"1", "a-1-2.png": b"2"}


def test_windows_come_on_their_own_channel(tmp_path: Path) -> None:
    """A .npy file is a window, named as the contract names it."""
    (tmp_path / "a.npy").write_bytes(b"x")
    source = opened(tmp_path, channel="vibration")
    settled(source)

    sample = source.grab(trigger(1))

    assert list(sample.channels) == ["vibration"]


def test_a_trigger_without_a_file_gets_a_sample_with_a_fault(tmp_path: Path) -> None:
    """A timer on an empty folder gets an answer for each tick, never an exception."""
    source = opened(tmp_path)

    sample = source.grab(trigger(1))
    source.done(trigger(1), Verdict.UNINSPECTED)

    assert sample.fault is Reason.SOURCE_FAULT


def test_a_timer_finds_the_files_too(tmp_path: Path) -> None:
    """A source that nobody asks whether something waits looks by itself when it is grabbed from."""
    (tmp_path / "a.png").write_bytes(b"x")
    source = opened(tmp_path)

    parts = [source.grab(trigger(n, n * 2 * S)).part for n in range(2)]

    assert parts == ["", "a"]


def test_a_missing_folder_is_an_error_with_a_cure(tmp_path: Path) -> None:
    """A folder that is not there is refused when the source is opened."""
    with pytest.raises(SourceError, match="is no folder") as caught:
        opened(tmp_path / "nowhere")

    assert caught.value.hint
    assert caught.value.retry


def test_a_folder_that_goes_away_is_reported_and_comes_back(tmp_path: Path) -> None:
    """A lost share is a SourceError while it is lost, a fault for a trigger, and nothing once it is back."""
    folder = tmp_path / "share"
    folder.mkdir()
    source = opened(folder)
    for inner in folder.iterdir():
        inner.rmdir()
    folder.rmdir()

    with pytest.raises(SourceError, match="cannot read"):
        source.waiting(S)
    sample = source.grab(trigger(1, 2 * S))
    folder.mkdir()
    source.open()

    assert sample.fault is Reason.SOURCE_FAULT
    assert not source.waiting(3 * S)


def test_a_file_that_cannot_be_moved_is_reported_and_not_judged_again(tmp_path: Path) -> None:
    """A full or missing `processed` folder never makes one part two."""
    (tmp_path / "a.png").write_bytes(b"x")
    source = opened(tmp_path)
    settled(source)
    source.grab(trigger(1))
    (tmp_path / "processed").rmdir()

    with pytest.raises(SourceError, match="cannot move") as caught:
        source.done(trigger(1), Verdict.OK)

    assert caught.value.hint
    assert not source.waiting(5 * S)
    assert not source.waiting(9 * S)
    assert names(tmp_path) == ["a.png"]


def test_the_folder_is_not_read_at_every_question(tmp_path: Path) -> None:
    """Asking often is cheap: the folder is read at most every `LOOK_US`."""
    source = opened(tmp_path, settle_s=0.0)
    source.waiting(0)
    (tmp_path / "a.png").write_bytes(b"x")

    answers = [source.waiting(LOOK_US - 1), source.waiting(LOOK_US)]

    assert answers == [False, True]
