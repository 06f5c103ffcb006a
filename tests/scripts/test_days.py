from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scripts.day import days
from scripts.day.children import DayError

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def test_a_day_gets_a_new_folder(tmp_path: Path) -> None:
    """Two days that begin in the same second do not share a folder."""
    days.prepare(tmp_path / "demo")

    first, second = (days.begin(tmp_path / "demo", NOW) for _ in range(2))

    assert first != second
    assert first.is_dir()
    assert second.is_dir()


def test_the_last_days_are_kept(tmp_path: Path) -> None:
    """Days do not fill the disk: the oldest go when a new one begins."""
    days.prepare(tmp_path / "demo")

    made = [days.begin(tmp_path / "demo", NOW + timedelta(days=i)) for i in range(days.KEPT + 2)]

    assert [day.is_dir() for day in made] == [False, False, *[True] * days.KEPT]


def test_starting_over_removes_our_own_folder(tmp_path: Path) -> None:
    """What carries our mark is removed whole."""
    data = tmp_path / "demo"
    days.prepare(data)
    days.begin(data, NOW)

    days.remove(data)

    assert not data.exists()


def test_what_is_not_ours_is_never_removed(tmp_path: Path) -> None:
    """A folder without our mark stays as it is, whatever was asked."""
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(DayError):
        days.remove(tmp_path)

    assert (tmp_path / "thesis.txt").exists()


def test_what_is_not_ours_is_never_used(tmp_path: Path) -> None:
    """Nothing is put into a folder that holds something else."""
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(DayError):
        days.prepare(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_link_to_our_folder_is_not_followed(tmp_path: Path) -> None:
    """A symbolic link is somebody's arrangement, even where it leads to a folder of ours."""
    days.prepare(tmp_path / "demo")
    (tmp_path / "link").symlink_to(tmp_path / "demo")

    with pytest.raises(DayError):
        days.remove(tmp_path / "link")

    assert (tmp_path / "demo").is_dir()


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    """A data folder that is a file is refused in words."""
    (tmp_path / "demo").write_text("")

    with pytest.raises(DayError):
        days.prepare(tmp_path / "demo")
