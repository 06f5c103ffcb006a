"""The laws of recorded signals."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent import settings
from edge_agent.errors import SourceError
from edge_agent.sample import Sample, Trigger
from edge_agent.sources import recording
from edge_agent.sources.recorded import RecordedSource
from edge_protocol.codes import Reason

NAMED = "time,x,y\n0,1,10\n1,2,20\n2,3,30\n3,4,40\n"


def opened(path: Path, content: str | None = None, **keys: Any) -> RecordedSource:
    """An open source that plays `path`."""
    if content is not None:
        path.write_text(content)
    source = RecordedSource(settings.RecordedSource(name="engine", path=path, **{"length": 2, **keys}))
    source.open()
    return source


def grab(source: RecordedSource, times: int) -> list[Sample]:
    """The samples of so many triggers."""
    return [source.grab(Trigger(1, n, 0, 7)) for n in range(times)]


def values(sample: Sample, name: str) -> list[float]:
    """The numbers of one channel, -1 where there is none."""
    return np.nan_to_num(sample.channels[name].data, nan=-1).tolist()  # type: ignore[no-any-return]


def test_each_trigger_gets_the_next_window(tmp_path: Path) -> None:
    """Window after window as recorded, with the columns asked for under their names, replayed and counted."""
    source = opened(tmp_path / "run.csv", NAMED, columns=("x", "y"), channels=("axial", "radial"))

    samples = grab(source, 3)

    assert [values(s, "axial") for s in samples] == [[1, 2], [3, 4], [1, 2]]
    assert [values(s, "radial") for s in samples] == [[10, 20], [30, 40], [10, 20]]
    assert [(s.part, s.number, s.replayed) for s in samples][:2] == [("run-000001", 1, True), ("run-000002", 2, True)]


def test_windows_may_overlap(tmp_path: Path) -> None:
    """`hop` says how far it is from one window to the next, and `taken_us` when each began."""
    source = opened(tmp_path / "run.csv", NAMED, columns=("x",), hop=1, rate_hz=4.0)

    samples = grab(source, 3)

    assert [values(s, "x") for s in samples] == [[1, 2], [2, 3], [3, 4]]
    assert [s.channels["x"].taken_us for s in samples] == [0, 250_000, 500_000]


def test_without_a_loop_the_end_is_a_fault(tmp_path: Path) -> None:
    """A rest that is no window is not played; after the last one nothing waits."""
    source = opened(tmp_path / "run.csv", "1\n2\n3\n", loop=False)
    first = grab(source, 1)

    has_more, after = source.waiting(0), grab(source, 1)[0]

    assert values(first[0], "0") == [1, 2]
    assert (has_more, after.fault, "played to its end" in after.detail) == (False, Reason.SOURCE_FAULT, True)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("a;b\n1,5;2\n", None),
        ("a\tb\n1\t2\n3\t4\n", "b"),
        ("\ufeffa,b\r\n1,2\r\n3,4\r\n", "b"),
        ("1,2\n3,4\n", "1"),
    ],
)
def test_a_table_is_read_as_it_is_written(content: str, name: str | None, tmp_path: Path) -> None:
    """Commas, semicolons or tabs, with a header or without; a decimal comma is refused, not taken for a gap."""
    path = tmp_path / "run.csv"
    path.write_text(content, "utf-8")
    if name is None:
        with pytest.raises(SourceError, match="line 2: '1,5' is no number"):
            opened(path)
    else:
        assert values(grab(opened(path, columns=(name,)), 1)[0], name) == [2, 4]


def test_what_is_missing_is_a_gap_and_not_made_up(tmp_path: Path) -> None:
    """Empty cells and rows that are not there are NaN where they belong, counted, and told with their time."""
    content = "when,x\n2026-01-01T00:00:00Z,1\n2026-01-01T00:00:02Z,3\n2026-01-01T00:00:03Z,\n2026-01-01T00:00:05Z,6\n"
    source = opened(tmp_path / "run.csv", content, time_column="when", length=3)

    first, second = grab(source, 2)

    assert (values(first, "x"), values(second, "x")) == ([1, -1, 3], [-1, -1, 6])
    assert [s.channels["x"].missing for s in (first, second)] == [1, 2]
    assert second.detail == "2 samples are missing from 2026-01-01T00:00:03+00:00 on"


def test_an_empty_line_of_a_single_column_is_a_missing_value(tmp_path: Path) -> None:
    """It moves nothing that follows; at the end of a file, or between rows of a table, it says nothing."""
    source = opened(tmp_path / "run.csv", "x\n1\n\n3\n4\n\n")
    table = opened(tmp_path / "table.csv", "x,y\n1,2\n\n3,4\n\n")

    first, second = grab(source, 2)

    assert (values(first, "x"), values(second, "x")) == ([1, -1], [3, 4])
    assert first.channels["x"].missing == 1
    assert values(grab(table, 1)[0], "x") == [1, 3]


def test_a_row_that_does_not_go_on_in_time_is_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A clock set back does not overwrite what was recorded before it."""
    rows = [f"{n},{n}" for n in range(20)] + ["18,99", "20,20"]
    source = opened(tmp_path / "run.csv", "t,x\n" + "\n".join(rows), time_column="t", length=21)

    assert values(grab(source, 1)[0], "x") == list(range(21))
    assert "1 rows that do not go on in time" in caplog.text


def test_arrays_are_signals_or_windows(tmp_path: Path) -> None:
    """Of an .npz or .npy a row of numbers is cut, and a table of windows is played as it is."""
    np.savez(tmp_path / "signals.npz", x=np.arange(4, dtype=np.int16), y=np.arange(4.0) * 10)
    np.save(tmp_path / "windows.npy", np.arange(6.0).reshape(3, 2))

    cut = grab(opened(tmp_path / "signals.npz", columns=("x", "y")), 2)
    played = grab(opened(tmp_path / "windows.npy", channels=("signal",)), 3)

    assert [(values(s, "x"), values(s, "y")) for s in cut] == [([0, 1], [0, 10]), ([2, 3], [20, 30])]
    assert [values(s, "signal") for s in played] == [[0, 1], [2, 3], [4, 5]]


def test_a_window_is_a_copy(tmp_path: Path) -> None:
    """Whoever changes what it got does not change the recording."""
    source = opened(tmp_path / "run.csv", NAMED, columns=("x",), length=4)
    grab(source, 1)[0].channels["x"].data[:] = 0  # type: ignore[index]

    assert values(grab(source, 1)[0], "x") == [1, 2, 3, 4]


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most a megabyte of numbers is loaded."""
    monkeypatch.setattr(recording, "MAX_BYTES", 1_000_000)


def bomb(path: Path) -> None:
    """An .npz that unpacks to far more than it weighs."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(10_000_000))


def pickled(path: Path) -> None:
    """An .npz whose array is a Python object."""
    np.savez(path, x=np.array([{}], dtype=object))


@pytest.mark.parametrize(
    ("name", "write", "keys", "problem"),
    [
        ("none.csv", lambda _path: None, {}, "No such file"),
        ("a.csv", lambda path: path.write_text(""), {}, "no rows"),
        ("a.csv", lambda path: path.write_text("x\n1\n"), {}, "1 samples are no window of 2"),
        ("a.csv", lambda path: path.write_text("x,y\n1,2\n3\n"), {}, "line 3: it has too few cells"),
        ("a.csv", lambda path: path.write_text("x\n1\nbroken\n"), {}, "line 3: 'broken' is no number"),
        ("a.csv", lambda path: path.write_text(NAMED), {"columns": ("z",)}, "no column 'z', only time, x, y"),
        ("a.csv", lambda path: path.write_text(NAMED), {"time_column": "when"}, "no column 'when'"),
        ("a.csv", lambda path: path.write_text("t,x\nsoon,1\n"), {"time_column": "t"}, "line 2: 'soon' is no time"),
        ("a.csv", lambda path: path.write_text(NAMED), {"time_column": "time", "rate_hz": 0.1}, "rate_hz is too low"),
        ("a.csv", lambda path: path.write_text(NAMED), {"time_column": "time", "rate_hz": 1e7}, "rate_hz is too high"),
        ("a.csv", lambda path: path.write_text(NAMED), {"channels": ("one",)}, "zip"),
        ("a.npz", lambda path: path.write_text("no zip"), {}, "not a zip file"),
        ("a.npz", bomb, {}, "it unpacks to 10000000 bytes"),
        ("a.npz", pickled, {}, "allow_pickle"),
        ("a.npz", lambda path: np.savez(path, x=np.zeros(4), y=np.zeros(5)), {}, "differ in shape"),
        ("a.npz", lambda path: np.savez(path, x=np.zeros(4)), {"columns": ("y",)}, "there is no array 'y'"),
        ("a.npy", lambda path: np.save(path, np.zeros((2, 3, 4))), {}, r"float64\[2, 3, 4\]"),
        ("a.npy", lambda path: np.save(path, np.zeros((2, 3))), {}, "its windows have 3 samples, `length` is 2"),
        ("a.npy", lambda path: path.write_bytes(b"\x93NUMPY\x01\x00v\x00{"), {}, "EOF|header|magic|read"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("little_memory")
def test_what_cannot_be_played_is_refused_with_a_cure(
    name: str, write: Any, keys: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    """A file that is missing, damaged, hostile, or not what the settings say: told when it is opened, with its name."""
    write(tmp_path / name)

    with pytest.raises(SourceError, match=problem) as caught:
        opened(tmp_path / name, **keys)

    assert name in str(caught.value)
    assert caught.value.hint
