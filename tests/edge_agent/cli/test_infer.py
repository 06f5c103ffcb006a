from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_protocol.bundle import DetectionOutput, ImageInput, OperatingPoint, SegmentationOutput, Zone
from tests.edge_agent.cli.conftest import Say
from tests.edge_agent.inference import small_graphs
from tests.edge_agent.inference.small_bundles import (
    LENGTH,
    jpeg,
    npy,
    png,
    write_bundle,
    write_image_bundle,
    write_window_bundle,
)
from tests.edge_agent.inference.small_graphs import COUNTER, manifest


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
    assert said.json[0]["hint"] in say("infer", bundle, tmp_path / "torn.png").out


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


def test_each_task_says_what_it_found(tmp_path: Path, say: Say) -> None:
    """A box with the zone that it breaks, a region with its area, a value with its unit: in words and as values."""
    zone = Zone(name="press", polygon=((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)))
    detector = write_bundle(
        tmp_path / "detector",
        manifest(
            task="detection",
            input=ImageInput(tensor="image", width=32, height=32, layout="nhwc", dtype="uint8"),
            output=DetectionOutput(classes=("person",), boxes="rows"),
            operating_point=OperatingPoint(accept=0.4, reject=0.6, zones=(zone,)),
        ),
        {"fp32.onnx": small_graphs.detector()},
    )
    segmenter = write_bundle(
        tmp_path / "segmenter",
        manifest(
            task="segmentation",
            input=ImageInput(tensor="image", width=32, height=32, colour="gray", mean=(0,), std=(255,), mm_per_px=0.5),
            output=SegmentationOutput(classes=("good", "hole"), anomalous=("hole",)),
        ),
        {"fp32.onnx": small_graphs.segmenter()},
    )
    counter = write_bundle(tmp_path / "counter", manifest(**COUNTER), {"fp32.onnx": small_graphs.counter()})
    part, light = np.full((32, 32), 255, np.uint8), np.full((64, 64, 3), 204, np.uint8)
    part[8:16, 8:16] = 0
    (tmp_path / "part.png").write_bytes(png(part))
    (tmp_path / "light.png").write_bytes(png(light))
    (tmp_path / "window.npy").write_bytes(npy(np.ones(4)))
    asked = [
        (detector, tmp_path / "light.png"), (segmenter, tmp_path / "part.png"),
        (counter, tmp_path / "window.npy", tmp_path / "window.npy"),
    ]  # fmt: skip

    found, holes, hours = (say("infer", *each, "--json").json for each in asked)
    words = [say("infer", *each).out for each in asked]

    assert found[0]["detections"] == [
        {"label": "person", "score": pytest.approx(0.8), "box": [16, 16, 48, 32], "zones": ["press"]}
    ]
    assert found[0]["breaks"] == {"press": pytest.approx(0.8)}
    assert holes[0]["regions"] == [{"label": "hole", "area": 16.0, "peak": 1.0, "box": [8, 8, 15, 15]}]
    assert [(row["value"], row["unit"]) for row in hours] == [(8, "h"), (16, "h")]
    assert "press 0.80, person 0.80 in press" in words[0]
    assert "hole 16 mm²" in words[1]
    assert "16 h" in words[2]


def test_things_are_drawn_where_it_was_asked_for(tmp_path: Path, say: Say) -> None:
    """With --heatmap a picture without heat is drawn too: its boxes and zones are in it, at its own size."""
    detector = write_bundle(
        tmp_path / "detector",
        manifest(
            task="detection",
            input=ImageInput(tensor="image", width=32, height=32, layout="nhwc", dtype="uint8", jpeg_reduce=2),
            output=DetectionOutput(classes=("person",), boxes="rows"),
        ),
        {"fp32.onnx": small_graphs.detector()},
    )
    (tmp_path / "light.jpg").write_bytes(jpeg(np.full((128, 128, 3), 204, np.uint8)))

    said = say("infer", detector, tmp_path / "light.jpg", "--heatmap", tmp_path / "maps", "--json")

    drawn = cv2.imread(said.json[0]["heatmap"])
    assert drawn is not None
    assert drawn.shape == (128, 128, 3)
    assert drawn[48, 32].tolist() != [204, 204, 204]
    assert said.json[0]["detections"][0]["box"] == [32, 32, 96, 64]
