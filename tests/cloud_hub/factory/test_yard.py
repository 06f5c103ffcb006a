from pathlib import Path

import numpy as np
import pytest

from cloud_hub.errors import LeftOut
from cloud_hub.factory import yard
from cloud_hub.factory.yard import Picture


@pytest.fixture(scope="module")
def frames() -> list[Picture]:
    """The video, where it lies on this machine; nothing is fetched for a test."""
    found = next((place for place in yard._PLACES if place.is_file()), None)
    if found is None:
        pytest.skip("OpenCV's vtest.avi is neither in ../shared/data/yard nor installed with opencv-doc")
    return yard.read_frames(found)


@pytest.mark.slow
def test_who_walks_is_not_in_the_empty_yard(frames: list[Picture]) -> None:
    """The median over the frames is as far from each of them as the people in it, and they are not in it."""
    empty = yard.empty(frames)

    walker = (slice(160, 235), slice(185, 220))  # a man in a dark coat, in frame 300
    differs = np.abs(frames[300][walker].astype(int) - empty[walker].astype(int)).mean()
    background = np.abs(frames[300][400:, :200].astype(int) - empty[400:, :200].astype(int)).mean()
    assert differs > 5 * background


def test_a_portrait_stands_where_it_is_put() -> None:
    """Its lower left corner at the foot, as high as asked, and nothing else is changed."""
    picture = np.zeros((yard.HEIGHT, yard.WIDTH, 3), np.uint8)

    made = yard.with_portrait(picture, 100, (200, 300))

    rows, columns = np.nonzero(made.any(axis=2))
    assert (rows.min(), rows.max(), columns.min()) == (200, 299, 200)
    assert not picture.any()


def test_a_video_that_is_nowhere_is_said_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the file and without apt the hint says where it may be put."""
    monkeypatch.setattr(yard, "_PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(LeftOut) as caught:
        yard.find_video(tmp_path / "downloads")

    assert str(tmp_path / "downloads" / "vtest.avi") in caught.value.hint
