from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.edge_agent.cli.conftest import Say
from tests.edge_agent.inference.small_bundles import LENGTH, npy, png, write_image_bundle, write_window_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for pictures: the further from mid-grey, the worse."""
    return write_image_bundle(tmp_path_factory.mktemp("bundles") / "small-image")


def picture(path: Path, level: int) -> Path:
    """A picture of this grey, with a little noise."""
    noise = np.random.default_rng(level).integers(-3, 4, (32, 32, 3))
    path.write_bytes(png((level + noise).astype(np.uint8)))
    return path


def test_files_are_judged_as_the_line_would(bundle: Path, tmp_path: Path, say: Say) -> None:
    """Each file has its verdict, score and signals; one that is not OK makes the exit code 1."""
    good, bad = picture(tmp_path / "good.png", 128), picture(tmp_path / "bad.png", 250)

    alone = say("infer", bundle, good, "--json")
    both = say("infer", bundle, good, bad, "--json")

    assert (alone.code, both.code) == (0, 1)
    assert [(row["verdict"], row["reason"]) for row in both.json] == [("OK", "NONE"), ("NG", "SCORE_REJECT")]
    assert both.json[0]["score"] == alone.json[0]["score"] < both.json[1]["score"]
    assert both.json[0]["luma_mean"] == pytest.approx(128, abs=3)


def test_a_file_that_cannot_be_judged_says_why(bundle: Path, tmp_path: Path, say: Say) -> None:
    """A torn picture is UNINSPECTED with the reason, and the others are judged."""
    good = picture(tmp_path / "good.png", 128)
    (tmp_path / "torn.png").write_bytes(good.read_bytes()[:50])

    said = say("infer", bundle, tmp_path / "torn.png", good, "--json")

    assert said.code == 1
    assert [(row["verdict"], row["reason"]) for row in said.json] == [("UNINSPECTED", "UNREADABLE"), ("OK", "NONE")]
    assert said.json[0]["detail"]


def test_windows_are_judged(tmp_path: Path, say: Say) -> None:
    """A .npy window goes through the same command; one with a NaN is UNINSPECTED."""
    bundle = write_window_bundle(tmp_path / "small-window")
    values = np.sin(np.arange(LENGTH) / 3)
    (tmp_path / "good.npy").write_bytes(npy(values))
    (tmp_path / "nan.npy").write_bytes(npy(np.where(values > 0.9, np.nan, values)))

    said = say("infer", bundle, tmp_path / "good.npy", tmp_path / "nan.npy", "--json")

    assert [(row["verdict"], row["reason"]) for row in said.json] == [("OK", "NONE"), ("UNINSPECTED", "NOT_FINITE")]


def test_a_heatmap_is_drawn_where_it_was_asked_for(bundle: Path, tmp_path: Path, say: Say) -> None:
    """With --heatmap each judged picture has one beside it, of the picture's own size."""
    said = say("infer", bundle, picture(tmp_path / "bad.png", 250), "--heatmap", tmp_path / "maps", "--json")

    drawn = cv2.imread(said.json[0]["heatmap"])
    assert drawn is not None
    assert drawn.shape == (32, 32, 3)


@pytest.mark.parametrize("columns", [["file", "verdict", "reason", "score"]])
def test_a_pipe_gets_a_table(bundle: Path, tmp_path: Path, say: Say, columns: list[str]) -> None:
    """Without --json: a head and a line for each file."""
    said = say("infer", bundle, picture(tmp_path / "good.png", 128))

    head, line = said.out.splitlines()
    assert head.split()[:4] == columns
    assert line.split()[1] == "OK"


def test_what_cannot_be_asked_ends_with_2(bundle: Path, tmp_path: Path, say: Say) -> None:
    """No bundle, no file, no such variant, a folder that cannot be made: two lines each."""
    good = picture(tmp_path / "good.png", 128)

    asked = [
        say("infer", tmp_path / "nowhere", good),
        say("infer", bundle, tmp_path / "nowhere.png"),
        say("infer", bundle, good, "--variant", "fp8"),
        say("infer", bundle, good, "--heatmap", good / "maps"),
    ]

    assert [said.code for said in asked] == [2, 2, 2, 2]
    assert [len(said.err.splitlines()) for said in asked] == [2, 2, 2, 2]
    assert [said.out for said in asked] == ["", "", "", ""]
