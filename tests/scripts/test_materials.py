"""What a day is played with must be there, and be what the agents of today take."""

import json
from pathlib import Path

from edge_protocol import bundle
from scripts.day.materials import is_built
from tests.edge_agent.inference.small_bundles import image_graph, image_manifest, write_bundle


def test_a_bundle_that_no_agent_loads_is_not_built(tmp_path: Path) -> None:
    """What an older recipe left behind does not count, though its manifest is there; a whole bundle does."""
    folder = write_bundle(tmp_path / "made", image_manifest(), {"fp32.onnx": image_graph()})
    stale = write_bundle(tmp_path / "stale", image_manifest(), {"fp32.onnx": image_graph()})
    old = json.loads((stale / bundle.MANIFEST).read_bytes())
    old["output"]["kind"] = "of-another-time"
    (stale / bundle.MANIFEST).write_text(json.dumps(old))

    assert is_built(folder)
    assert not is_built(stale)
    assert not is_built(tmp_path / "nothing")
