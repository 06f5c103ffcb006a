import tomllib
from pathlib import Path

from cloud_hub.factory.completion import Findings, complete
from cloud_hub.factory.evaluate import Figure
from cloud_hub.factory.run import Run
from edge_protocol import bundle
from edge_protocol.counters import Reference, load_reference, make_signal
from tests.edge_agent.inference.small_bundles import image_graph, image_manifest


def test_what_a_recipe_found_is_in_its_bundle(tmp_path: Path) -> None:
    """Figures stand in the card, digests of the data in card and lineage, the reference in its file."""
    recipe = tmp_path / "small-image" / "recipe.py"
    recipe.parent.mkdir()
    (recipe.parent / "card.toml").write_text('[model]\nname = "small-image"\nversion = "1.0.0"\n')
    reference = Reference((make_signal("score", [n / 100 for n in range(100)], 4),))
    findings = Findings((), {}, reference, {"auroc": Figure(0.9, 0.8, 1.0, 7)}, {"parts.png": "ab"})
    run = Run(recipe, 1, lambda _text: None)

    folder = complete(run, tmp_path / "out", image_manifest(lineage=run.lineage), {"fp32": image_graph()}, findings)

    manifest, _digest = bundle.load(folder)
    card = tomllib.loads((folder / manifest.card).read_text())
    assert folder == tmp_path / "out" / manifest.name
    assert card["measured"]["auroc"]["value"] == 0.9
    assert card["data"]["sha256"] == {"parts.png": "ab"}
    assert manifest.lineage == {**run.lineage, "data parts.png": "ab"}
    assert load_reference((folder / manifest.reference).read_bytes()) == reference
