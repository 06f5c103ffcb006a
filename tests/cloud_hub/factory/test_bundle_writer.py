from pathlib import Path

import msgspec
import pytest

from cloud_hub.errors import FactoryError
from cloud_hub.factory.bundle_writer import write_bundle
from edge_protocol import bundle
from edge_protocol.bundle import OperatingPoint
from tests.edge_agent.inference.small_bundles import image_graph, image_manifest

FILES = {"fp32.onnx": image_graph(), "goldens/a.png": b"a"}


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_what_is_written_is_a_whole_bundle(tmp_path: Path) -> None:
    """The folder loads, holds what was given and nothing else."""
    written = write_bundle(tmp_path / "b", image_manifest(), FILES)

    manifest, _digest = bundle.load(tmp_path / "b")
    assert manifest == written
    assert set(tree(tmp_path / "b")) == {*FILES, "manifest.json"}
    assert list(tmp_path.iterdir()) == [tmp_path / "b"]


def test_the_same_content_is_the_same_digest(tmp_path: Path) -> None:
    """The order in which files are given does not matter."""
    write_bundle(tmp_path / "a", image_manifest(), FILES)
    write_bundle(tmp_path / "b", image_manifest(), dict(reversed(FILES.items())))

    assert bundle.load(tmp_path / "a")[1] == bundle.load(tmp_path / "b")[1]


def test_a_bundle_of_the_same_version_is_replaced_whole(tmp_path: Path) -> None:
    """Built again, the folder holds the new bundle and nothing of the old."""
    write_bundle(tmp_path / "b", image_manifest(), FILES)
    point = OperatingPoint(accept=0.1, reject=0.2)

    write_bundle(tmp_path / "b", image_manifest(operating_point=point), {"fp32.onnx": FILES["fp32.onnx"]})

    assert bundle.load(tmp_path / "b")[0].operating_point == point
    assert set(tree(tmp_path / "b")) == {"fp32.onnx", "manifest.json"}


@pytest.mark.parametrize("changes", [{"version": "1.0.1"}, {"name": "another"}])
def test_another_release_is_never_overwritten(tmp_path: Path, changes: dict[str, str]) -> None:
    """A folder that holds another name or version stays as it is."""
    write_bundle(tmp_path / "b", image_manifest(), FILES)
    before = tree(tmp_path / "b")

    with pytest.raises(FactoryError, match="holds small-image"):
        write_bundle(tmp_path / "b", image_manifest(**changes), FILES)

    assert tree(tmp_path / "b") == before


def test_what_is_no_bundle_is_never_overwritten(tmp_path: Path) -> None:
    """A folder of something else stays as it is."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("years of work")

    with pytest.raises(FactoryError, match="no bundle"):
        write_bundle(tmp_path / "b", image_manifest(), FILES)

    assert tree(tmp_path) == {"b/thesis.txt": b"years of work"}


def test_a_manifest_that_breaks_a_rule_writes_nothing(tmp_path: Path) -> None:
    """What would not load is not left behind, and an earlier bundle stays."""
    write_bundle(tmp_path / "b", image_manifest(), FILES)
    before = tree(tmp_path)
    wrong = msgspec.structs.replace(image_manifest(), operating_point=OperatingPoint(accept=2, reject=1))

    with pytest.raises(FactoryError):
        write_bundle(tmp_path / "b", wrong, FILES)

    assert tree(tmp_path) == before
