import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage

from edge_agent.errors import SourceError
from edge_agent.sample import Sample, Trigger
from edge_agent.settings import ReplaySource as Settings
from edge_agent.sources.kinds import make_source
from edge_agent.sources.replay import Dimmer, ReplaySource
from edge_protocol.codes import Reason, Verdict


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one real surface."""
    folder = tmp_path_factory.mktemp("pictures")
    shutil.copy(Path(skimage.__file__).parent / "data" / "brick.png", folder)
    return folder


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of windows made up for the test: a label and 500 values a row."""
    path = tmp_path_factory.mktemp("windows") / "windows.txt"
    rng = np.random.default_rng(0)
    np.savetxt(path, np.column_stack([np.repeat([-1, 1], 10), rng.normal(size=(20, 500))]))
    return path


def opened(path: Path, **keys: Any) -> ReplaySource:
    """A replay source of textures, ready to grab from."""
    source = ReplaySource(Settings(name="camera", path=path, **{"scene": "textures", **keys}))
    source.open()
    return source


def grab(source: ReplaySource, n: int) -> Sample:
    """The sample of the n-th trigger."""
    return source.grab(Trigger(1, n, 0, 7))


def test_the_draw_is_fixed_by_seed_and_trigger(pictures: Path) -> None:
    """The same trigger number gives the same part after a restart, another number or seed another part."""
    first, restarted, other = opened(pictures, seed=1), opened(pictures, seed=1), opened(pictures, seed=2)

    data = [
        grab(source, n).channels["image"].data for source, n in ((first, 5), (restarted, 5), (first, 6), (other, 5))
    ]

    assert np.array_equal(data[0], data[1])
    assert not np.array_equal(data[0], data[2])
    assert not np.array_equal(data[0], data[3])


def test_part_numbers_go_on_after_a_restart(pictures: Path) -> None:
    """The part is numbered by its trigger, so a new process begins where the trigger numbers do."""
    parts = [grab(opened(pictures), n).part for n in (122, 123)]

    assert parts == ["P000122", "P000123"]


def test_a_replay_says_that_it_is_one(pictures: Path) -> None:
    """A sample of a replay can never be taken for a live one, and carries the time of its trigger."""
    sample = grab(opened(pictures), 1)

    assert sample.replayed
    assert sample.fault is Reason.NONE
    assert sample.channels["image"].mono_us == 7


def test_windows_come_on_the_channel_of_the_contract(windows: Path) -> None:
    """A window is a row of the table, on the channel the configuration names."""
    source = opened(windows, scene="windows", channel="vibration")

    data = grab(source, 1).channels["vibration"].data

    assert data.shape == (500,)  # type: ignore[union-attr]  # an array, not bytes
    assert source.waiting(0)
    source.done(Trigger(1, 1, 0, 0), Verdict.OK)


def test_the_dimmer_takes_light_from_all_that_follows(pictures: Path, tmp_path: Path) -> None:
    """A factor written while running scales every later picture; without the file there is full light."""
    lamp = tmp_path / "lamp"
    source = opened(pictures, dimmer=lamp)

    bright = grab(source, 1).channels["image"].data
    lamp.write_text("0.8\n")
    dim = grab(source, 1).channels["image"].data
    lamp.unlink()
    again = grab(source, 1).channels["image"].data

    assert np.array_equal(dim, np.rint(np.asarray(bright) * 0.8).astype(np.uint8))
    assert np.array_equal(bright, again)


@pytest.mark.parametrize("text", ["", "bright", "nan", "-1", "1e9", "\xff"])
def test_a_dimmer_that_makes_no_sense_changes_nothing(tmp_path: Path, text: str) -> None:
    """While the file is being written, or holds nonsense, the last good factor holds."""
    lamp = tmp_path / "lamp"
    lamp.write_text("0.5")
    dimmer = Dimmer(lamp)
    before = dimmer.factor()

    lamp.write_text(text, "latin-1")
    os.utime(lamp, (1, 1))

    assert (before, dimmer.factor()) == (0.5, 0.5)


def test_more_light_is_clipped_as_a_sensor_does(tmp_path: Path) -> None:
    """A factor above one saturates at 255 and never wraps round."""
    lamp = tmp_path / "lamp"
    lamp.write_text("2")

    levels = Dimmer(lamp).apply(np.array([[0, 100, 127, 128, 255]], np.uint8))

    assert levels.tolist() == [[0, 200, 254, 255, 255]]


@pytest.mark.parametrize("scene", ["textures", "windows"])
def test_missing_data_is_an_error_with_a_cure(tmp_path: Path, scene: str) -> None:
    """A scene without its data is refused when the source is opened."""
    with pytest.raises(SourceError, match="source 'camera'") as caught:
        opened(tmp_path / "nowhere", scene=scene)

    assert caught.value.hint


def test_data_that_is_no_data_is_an_error_with_a_cure(tmp_path: Path) -> None:
    """An empty folder of pictures is refused, not replayed as nothing."""
    with pytest.raises(SourceError, match="source 'camera'"):
        opened(tmp_path)


def test_each_kind_of_table_makes_its_source(pictures: Path) -> None:
    """The table of kinds knows the constructor of every row."""
    source = make_source(Settings(name="camera", scene="textures", path=pictures))

    source.open()

    assert source.grab(Trigger(1, 1, 0, 0)).part == "P000001"
    source.close()
