from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_agent.sources.scenes import DEFECTS, TextureScene, WindowScene, read_pictures

RNG = np.random.default_rng(10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two surfaces: dark on the left and bright on the right, in two degrees."""
    for name, dark, bright in (("one", 40, 140), ("two", 60, 200)):
        picture = np.full((300, 600), dark, np.uint8)
        picture[:, 300:] = bright
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture)
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Three good rows of ones and two faulty rows of twos."""
    path = tmp_path / "windows.tsv"
    np.savetxt(path, np.array([[-1, 1, 1, 1]] * 3 + [[1, 2, 2, 2]] * 2), delimiter="\t")
    return path


def test_a_draw_is_a_function_of_seed_and_number(folder: Path) -> None:
    """The same scene gives the same part again, in any order; another seed or number gives another."""
    scene, again = (TextureScene(folder, 3, "right", 0.5) for _ in range(2))
    drawn = [scene.draw(n) for n in range(6)]

    for n in (5, 0, 3):
        assert np.array_equal(again.draw(n)[0], drawn[n][0])
        assert again.draw(n)[1] == drawn[n][1]
    assert not np.array_equal(drawn[0][0], drawn[1][0])
    assert not np.array_equal(TextureScene(folder, 4, "right", 0.5).draw(0)[0], drawn[0][0])


def test_the_halves_share_no_pixel(folder: Path) -> None:
    """Parts of the left half are dark and parts of the right half bright, in every draw."""
    left, right = (TextureScene(folder, 3, half, 0.0) for half in ("left", "right"))

    assert all(left.draw(n)[0].max() < 80 for n in range(20))
    assert all(right.draw(n)[0].min() > 110 for n in range(20))


def test_a_part_is_a_colour_picture_of_the_size_asked_for(folder: Path) -> None:
    """Grey photographs give BGR pictures, never larger than their half."""
    assert TextureScene(folder, 3, crop_px=100).draw(0)[0].shape == (100, 100, 3)
    assert TextureScene(folder, 3, crop_px=1000).draw(0)[0].shape == (300, 300, 3)
    assert TextureScene(folder, 3).draw(0)[0].dtype == np.uint8


def test_defects_come_in_the_share_asked_for(folder: Path) -> None:
    """No defect, always one, or about a third; each of the kinds occurs."""
    shares = {}
    for share in (0.0, 1 / 3, 1.0):
        scene = TextureScene(folder, 3, "right", share, crop_px=60)
        shares[share] = [scene.draw(n)[1] for n in range(300)]

    assert set(shares[0.0]) == {None}
    assert set(shares[1.0]) == set(DEFECTS)
    assert 70 < sum(defect is not None for defect in shares[1 / 3]) < 130


def test_a_defect_changes_its_part_and_only_in_places(folder: Path) -> None:
    """A part named defective differs from its surface where the defect is, and nowhere else by more than noise."""
    scene = TextureScene(folder, 3, "right", 1.0)
    for n in range(30):
        picture, defect = scene.draw(n)
        off = np.abs(picture[..., 0].astype(float) - np.median(picture[..., 0])) > 15
        assert 0.001 < off.mean() < 0.2, defect


def test_no_two_parts_are_equal(folder: Path) -> None:
    """A camera's noise makes even parts of a flat surface different: nothing looks frozen."""
    scene = TextureScene(folder, 3, "right", 0.0, crop_px=60)

    assert len({scene.draw(n)[0].tobytes() for n in range(100)}) == 100


def test_a_surface_can_be_chosen(folder: Path) -> None:
    """Parts of a named photograph come from it alone."""
    scene = TextureScene(folder, 3, "right", 0.0)

    assert all(scene.draw_on("one", n)[0].mean() < 170 < scene.draw_on("two", n)[0].mean() for n in range(10))


def test_pictures_come_by_name(folder: Path) -> None:
    """What is no picture by its ending is passed over; one that cannot be decoded is an error."""
    assert list(read_pictures(folder)) == ["one", "two"]
    (folder / "broken.png").write_bytes(b"broken")

    with pytest.raises(ValueError, match="decoded"):
        read_pictures(folder)


def test_windows_are_rows_of_the_table(table: Path) -> None:
    """A draw is a row as it was recorded, and a fault exactly where its label says so."""
    good, faulty = WindowScene(table, 1, 0.0), WindowScene(table, 1, 1.0)

    assert all(np.array_equal(good.draw(n)[0], np.ones(3)) and good.draw(n)[1] is None for n in range(9))
    assert all(np.array_equal(faulty.draw(n)[0], np.full(3, 2.0)) and faulty.draw(n)[1] == "fault" for n in range(9))


def test_a_drawn_window_is_the_callers_own(table: Path) -> None:
    """What is done to a window does not reach the recording."""
    scene = WindowScene(table, 1, 0.0)
    scene.draw(0)[0][:] = 99

    assert np.array_equal(scene.draw(0)[0], np.ones(3))


@pytest.mark.parametrize("content", ["", "1\n", "1\t2\t3\n", "a\tb\n"])
def test_a_table_without_good_windows_is_refused(tmp_path: Path, content: str) -> None:
    """Nothing, only labels, only faults, or text: none is a scene."""
    path = tmp_path / "table.tsv"
    path.write_text(content)

    with pytest.raises(ValueError):  # noqa: PT011 (numpy words it as it likes)
        WindowScene(path, 1)


def test_a_defect_is_known_without_the_picture(folder: Path, table: Path) -> None:
    """What `defect` says of a part is what `draw` has drawn on it, for every number and in either scene."""
    surfaces, sounds = TextureScene(folder, 3, defect_share=0.4), WindowScene(table, 3, 0.4)

    said = [(surfaces.defect(n), sounds.defect(n)) for n in range(200)]

    assert said == [(surfaces.draw(n)[1], sounds.draw(n)[1]) for n in range(200)]
    assert {defect for pair in said for defect in pair} == {*DEFECTS, "fault", None}
