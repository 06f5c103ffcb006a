from pathlib import Path

import cv2
import numpy as np

from cloud_hub.factory import datasets
from edge_agent.sources.scenes import TextureScene, WindowScene


def test_the_demo_has_surfaces_and_engine_noise(tmp_path: Path) -> None:
    """What is staged can be replayed: three photographs in the folder, and windows of 500 values."""
    data = datasets.stage_demo_data(tmp_path / "data")

    assert sorted(path.stem for path in data.surfaces.iterdir()) == list(datasets.SURFACES)
    assert TextureScene(data.surfaces, 1).draw(0)[0].shape == (224, 224, 3)
    assert WindowScene(data.engine_noise, 1).draw(0)[0].shape == (500,)


def test_engine_noise_is_not_copied(tmp_path: Path) -> None:
    """FordA stays where it is installed: its licence is not stated."""
    data = datasets.stage_demo_data(tmp_path / "data")

    assert tmp_path not in data.engine_noise.parents
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".png"}


def test_folds_are_the_left_halves_cut_in_two(tmp_path: Path) -> None:
    """Upper and lower fold are together the left half, and share no pixel with each other or with the right one."""
    surfaces = datasets.stage_surfaces(tmp_path / "surfaces")

    upper, lower = datasets.stage_folds(surfaces, tmp_path)

    for name in datasets.SURFACES:
        whole, top, bottom = (cv2.imread(str(folder / f"{name}.png")) for folder in (surfaces, upper, lower))
        assert np.array_equal(np.vstack([top, bottom]), whole[:, :256])


def test_a_digest_is_of_contents_in_order(tmp_path: Path) -> None:
    """Two files in another order are another digest; their names do not matter."""
    for name, content in (("a", b"1"), ("b", b"2"), ("c", b"1")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (tmp_path / name for name in "abc")

    assert datasets.digest_of(a, b) == datasets.digest_of(c, b)
    assert datasets.digest_of(a, b) != datasets.digest_of(b, a)
