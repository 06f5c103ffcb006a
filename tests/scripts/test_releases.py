"""The releases of the day, made of a small bundle with a golden."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_agent.inference import selftest
from edge_agent.inference.model import Model
from edge_protocol import bundle
from edge_protocol.bundle import Expectation, Golden
from scripts.day import releases
from tests.edge_agent.inference.small_bundles import image_graph, image_manifest, png, write_bundle

PICTURE = png(np.random.default_rng(8).integers(0, 200, (90, 70, 3), np.uint8))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A bundle with a golden as this machine judges it, and a normalisation that can be changed."""
    changes = {"input": msgspec.structs.replace(image_manifest().input, mean=(9.0, 9.0, 9.0))}
    model = Model.load(write_bundle(tmp_path / "made", image_manifest(**changes), {"fp32.onnx": image_graph()}))
    found = selftest.trace(model, PICTURE)
    expect = Expectation(verdict=found.verdict, score=found.score, margin=0.1, stages=found.stages)
    manifest = image_manifest(goldens=(Golden(file="golden.png", expect={"fp32": expect}),), **changes)
    return write_bundle(tmp_path / "source", manifest, {"fp32.onnx": image_graph(), "golden.png": PICTURE})


@pytest.mark.parametrize(
    ("make", "version", "stages"),
    [(releases.good, "1.1.0", []), (releases.careless, "1.2.0", ["normalise"]), (releases.retrained, "1.3.0", [])],
)
def test_only_the_careless_release_fails_its_goldens(source: Path, tmp_path: Path, make, version, stages) -> None:
    """Each is a whole bundle of its own version; what is wrong with the careless one has the name of its stage."""
    folder = make(source, tmp_path / version)

    manifest, _ = bundle.load(folder)
    assert manifest.version == version
    assert [each.stage for each in selftest.check(Model.load(folder), folder)] == stages


def test_a_new_threshold_brings_no_new_file_and_new_weights_do(source: Path, tmp_path: Path) -> None:
    """What a gateway has to fetch is what has changed."""
    before, _ = bundle.load(source)

    moved, _ = bundle.load(releases.good(source, tmp_path / "good"))
    taught, _ = bundle.load(releases.retrained(source, tmp_path / "retrained"))

    assert moved.files == before.files
    assert {name for name in before.files if taught.files[name] != before.files[name]} == {"fp32.onnx"}
