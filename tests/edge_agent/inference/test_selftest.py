from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_agent.inference.model import Model
from edge_agent.inference.selftest import PROBES, STAGES, check, probe, trace
from edge_protocol.bundle import Expectation, Golden, Manifest
from tests.edge_agent.inference import small_bundles
from tests.edge_agent.inference.small_bundles import LENGTH, image_graph, npy, png, window_graph

RNG = np.random.default_rng(8)
PICTURE = RNG.integers(0, 200, (90, 70, 3), np.uint8)
WINDOW = np.sin(np.arange(LENGTH) * 0.3) + RNG.normal(scale=0.1, size=LENGTH)

KINDS = {
    "picture": (small_bundles.image_manifest(), image_graph(), "golden.png", png(PICTURE)),
    "window": (small_bundles.window_manifest(), window_graph(), "golden.npy", npy(WINDOW)),
}


def with_golden(folder: Path, manifest: Manifest, graph: bytes, name: str, data: bytes) -> Manifest:
    """The manifest with one golden, as this machine judges it."""
    model = Model.load(small_bundles.write_bundle(folder, manifest, {"fp32.onnx": graph}))
    found = trace(model, data)
    expect = Expectation(verdict=found.verdict, score=found.score, margin=0.05, stages=found.stages)
    return msgspec.structs.replace(manifest, goldens=(Golden(file=name, expect={"fp32": expect}),))


def stages_that_differ(folder: Path, manifest: Manifest, graph: bytes, name: str, data: bytes) -> list[str]:
    """What the self-test says of a bundle."""
    small_bundles.write_bundle(folder, manifest, {"fp32.onnx": graph, name: data})
    return [difference.stage for difference in check(Model.load(folder), folder)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_machine_reproduces_its_own_goldens(tmp_path: Path, kind: str) -> None:
    """Nothing changed: no difference."""
    manifest, graph, name, data = KINDS[kind]
    manifest = with_golden(tmp_path / "made", manifest, graph, name, data)

    assert stages_that_differ(tmp_path / "found", manifest, graph, name, data) == []


@pytest.mark.parametrize(
    ("kind", "changes", "stage"),
    [
        ("picture", {"resize": "cubic"}, "geometry"),
        ("picture", {"geometry": "letterbox"}, "geometry"),
        ("picture", {"roi": (0, 0, 60, 80)}, "geometry"),
        ("picture", {"colour": "bgr"}, "normalise"),
        ("picture", {"mean": (9.0, 0.0, 0.0)}, "normalise"),
        ("picture", {"std": (250.0, 255.0, 255.0)}, "normalise"),
        ("window", {"std": (2.0,) * small_bundles.BANDS, "mean": (0.0,) * small_bundles.BANDS}, "normalise"),
    ],
)
def test_a_changed_contract_is_named_by_its_stage(tmp_path: Path, kind: str, changes: dict, stage: str) -> None:
    """Another resize is a difference of geometry, another mean one of normalisation, and nothing later is blamed."""
    manifest, graph, name, data = KINDS[kind]
    manifest = with_golden(tmp_path / "made", manifest, graph, name, data)
    changed = msgspec.structs.replace(manifest, input=msgspec.structs.replace(manifest.input, **changes))

    assert stages_that_differ(tmp_path / "found", changed, graph, name, data) == [stage]


def test_a_changed_input_is_named(tmp_path: Path) -> None:
    """A golden whose bytes decode to something else differs at the first stage."""
    manifest, graph, name, data = KINDS["picture"]
    manifest = with_golden(tmp_path / "made", manifest, graph, name, data)
    other = PICTURE.copy()
    other[0, 0] += 1

    assert stages_that_differ(tmp_path / "found", manifest, graph, name, png(other)) == ["decode"]
    assert stages_that_differ(tmp_path / "broken", manifest, graph, name, data[:-50]) == ["decode"]


@pytest.mark.parametrize(("kind", "weight"), [("picture", "middle"), ("window", "slope")])
def test_one_changed_weight_is_named(tmp_path: Path, kind: str, weight: str) -> None:
    """A model with another weight differs in the engine, with every stage before it as it was."""
    manifest, graph, name, data = KINDS[kind]
    manifest = with_golden(tmp_path / "made", manifest, graph, name, data)
    changed = onnx.load_from_string(graph)
    (found,) = (w for w in changed.graph.initializer if w.name == weight)
    found.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(found) * np.float32(1.5), weight))

    assert stages_that_differ(tmp_path / "found", manifest, changed.SerializeToString(), name, data) == ["engine"]


def test_a_golden_without_an_expectation_proves_nothing(tmp_path: Path) -> None:
    """A variant that no golden speaks of has not been tested, and that is a difference."""
    manifest, graph, name, data = KINDS["picture"]
    manifest = msgspec.structs.replace(manifest, goldens=(Golden(file=name, expect={}),))

    assert stages_that_differ(tmp_path / "found", manifest, graph, name, data) == ["variant"]


def test_another_threshold_is_another_verdict(tmp_path: Path) -> None:
    """Where all stages and the score agree, the verdict still has to."""
    manifest, graph, name, data = KINDS["picture"]
    manifest = with_golden(tmp_path / "made", manifest, graph, name, data)
    expect = manifest.goldens[0].expect["fp32"]
    wrong = msgspec.structs.replace(expect, verdict="OK" if expect.verdict != "OK" else "NG")
    changed = msgspec.structs.replace(manifest, goldens=(Golden(file=name, expect={"fp32": wrong}),))

    assert stages_that_differ(tmp_path / "found", changed, graph, name, data) == ["verdict"]


def test_probes_lie_at_fixed_places() -> None:
    """Eight values from first to last, whatever the shape."""
    values = np.arange(71.0).reshape(71, 1)

    assert probe(values) == (0, 10, 20, 30, 40, 50, 60, 70)
    assert len(probe(np.zeros((1, 2)))) == PROBES


def test_every_stage_is_traced(tmp_path: Path) -> None:
    """A trace has probes of all stages, of pictures and of windows."""
    for kind, (manifest, graph, _name, data) in KINDS.items():
        model = Model.load(small_bundles.write_bundle(tmp_path / kind, manifest, {"fp32.onnx": graph}))
        assert tuple(trace(model, data).stages) == STAGES
