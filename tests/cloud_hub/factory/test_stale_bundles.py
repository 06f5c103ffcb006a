import json
from pathlib import Path

import msgspec
import pytest

from cloud_hub.factory.bundle_writer import write_bundle
from cloud_hub.factory.command import run_recipe
from cloud_hub.factory.run import Say, describe
from edge_protocol import bundle
from edge_protocol.errors import ManifestError
from tests.edge_agent.inference.small_bundles import image_graph, image_manifest


def test_a_bundle_of_an_older_contract_is_built_anew_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A build whose manifest is no longer understood gives way to a new one, once, with a sentence; nobody deletes it.
    """
    recipe = tmp_path / "models" / "small-image" / "recipe.py"
    recipe.parent.mkdir(parents=True)
    recipe.write_text("print()")
    (recipe.parent / "card.toml").write_text('[model]\nname = "small-image"\nversion = "1.0.0"\n')
    made: list[Path] = []

    def build(out: Path, say: Say) -> Path:
        say("building")
        manifest = msgspec.structs.replace(image_manifest(), lineage=describe(recipe))
        write_bundle(out / "small-image", manifest, {"fp32.onnx": image_graph()})
        made.append(out)
        return out

    folder = tmp_path / "bundles" / "small-image"
    build(folder.parent, print)
    old = json.loads((folder / bundle.MANIFEST).read_bytes())
    old["output"]["kind"] = "of-another-time"
    (folder / bundle.MANIFEST).write_text(json.dumps(old))
    with pytest.raises(ManifestError):
        bundle.load(folder)
    monkeypatch.setattr("sys.argv", ["recipe.py", "--if-changed", "--out", str(folder.parent)])

    run_recipe(build, recipe)
    run_recipe(build, recipe)

    assert len(made) == 2
    assert bundle.load(folder)[0].name == "small-image"
    assert capsys.readouterr().err.count("built anew") == 1
