"""The same model with another operating point."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from cloud_hub.errors import FactoryError
from cloud_hub.factory.revision import revise, write_revision
from edge_agent.inference import selftest
from edge_agent.inference.model import Model
from edge_protocol import bundle
from edge_protocol.bundle import Expectation, Golden, OperatingPoint
from tests.edge_agent.inference.small_bundles import image_graph, image_manifest, png, write_bundle

PICTURE = png(np.random.default_rng(8).integers(0, 200, (90, 70, 3), np.uint8))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A bundle with a golden as this machine judges it."""
    model = Model.load(write_bundle(tmp_path / "made", image_manifest(), {"fp32.onnx": image_graph()}))
    found, point = selftest.trace(model, PICTURE), model.operating_point
    margin = min(abs(found.score - point.accept), abs(found.score - point.reject))
    expect = Expectation(verdict=found.verdict, score=found.score, margin=margin, stages=found.stages)
    manifest = image_manifest(goldens=(Golden(file="golden.png", expect={"fp32": expect}),))
    return write_bundle(tmp_path / "source", manifest, {"fp32.onnx": image_graph(), "golden.png": PICTURE})


@pytest.mark.parametrize("shift", [-2.0, -0.01, 0.0, 0.01, 2.0])
def test_a_revision_proves_itself_at_its_own_point(source: Path, tmp_path: Path, shift: float) -> None:
    """Wherever the thresholds move, the goldens come out as the revised manifest expects, and no file but it is new."""
    before, _ = bundle.load(source)
    score = before.goldens[0].expect["fp32"].score
    point = OperatingPoint(accept=score + shift - 0.005, reject=score + shift + 0.005)

    after = write_revision(source, tmp_path / "out", revise(before, "1.1.0", point))

    assert selftest.check(Model.load(tmp_path / "out"), tmp_path / "out") == []
    assert (after.version, after.files) == ("1.1.0", before.files)


def test_another_contract_without_new_expectations_is_found_out(source: Path, tmp_path: Path) -> None:
    """What was revised carelessly does not pass: the first stage that differs is named."""
    before, _ = bundle.load(source)
    wrong = msgspec.structs.replace(before.input, mean=(9.0, 9.0, 9.0))
    manifest = msgspec.structs.replace(revise(before, "1.2.0", before.operating_point), input=wrong)

    write_revision(source, tmp_path / "out", manifest)

    assert selftest.check(Model.load(tmp_path / "out"), tmp_path / "out")[0].stage == "normalise"


def test_a_folder_without_a_bundle_is_refused(tmp_path: Path) -> None:
    """There is nothing to revise: cause and cure."""
    with pytest.raises(FactoryError) as refused:
        write_revision(tmp_path, tmp_path / "out", image_manifest())

    assert refused.value.hint
