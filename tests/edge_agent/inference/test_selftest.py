from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_agent.errors import InferenceError
from edge_agent.inference.model import Model
from edge_agent.inference.selftest import PROBES, STAGES, check, probe, trace
from edge_protocol.bundle import Expectation, Golden, ImageInput, Manifest, Trained
from edge_protocol.codes import Reason
from tests.edge_agent.inference import small_bundles
from tests.edge_agent.inference.small_bundles import LENGTH, image_graph, npy, png, window_graph

RNG = np.random.default_rng(8)
PICTURE = RNG.integers(0, 200, (90, 70, 3), np.uint8)
WINDOW = np.sin(np.arange(LENGTH) * 0.3) + RNG.normal(scale=0.1, size=LENGTH)

KINDS = {
    "picture": (small_bundles.image_manifest(), image_graph(), "golden.png", png(PICTURE)),
    "boxed": (
        small_bundles.image_manifest(
            input=ImageInput(
                tensor="image",
                width=small_bundles.SIDE,
                height=small_bundles.SIDE,
                std=(255.0,) * 3,
                geometry="letterbox",
                pad_value=114,
            )
        ),
        image_graph(),
        "golden.png",
        png(PICTURE),
    ),
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
        ("picture", {"resize": "linear"}, "geometry"),
        ("picture", {"geometry": "letterbox"}, "geometry"),
        ("picture", {"geometry": "crop"}, "geometry"),
        ("picture", {"roi": (0, 0, 60, 80)}, "geometry"),
        ("boxed", {"pad_value": 255}, "geometry"),
        ("boxed", {"geometry": "stretch"}, "geometry"),
        ("boxed", {"resize": "area", "roi": (1, 1, 69, 89)}, "geometry"),
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


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layout": "nhwc"}, "image"),
        ({"colour": "gray", "mean": (0.0,), "std": (255.0,)}, "image"),
        ({"dtype": "uint8"}, "image"),
    ],
)
def test_a_contract_that_the_graph_does_not_take_does_not_load(tmp_path: Path, changes: dict, words: str) -> None:
    """Another layout, channel count or type is no question of goldens: the graph's own input says no."""
    manifest, graph, name, data = KINDS["picture"]
    manifest = with_golden(tmp_path / "made", manifest, graph, name, data)
    changed = msgspec.structs.replace(manifest, input=msgspec.structs.replace(manifest.input, **changes))

    with pytest.raises(InferenceError, match=words) as caught:
        stages_that_differ(tmp_path / "found", changed, graph, name, data)
    assert caught.value.reason is Reason.NO_MODEL


def test_changed_weights_are_refused_by_their_digest(tmp_path: Path) -> None:
    """One other byte in the file, and no golden is needed."""
    manifest, graph, name, data = KINDS["picture"]
    manifest = with_golden(tmp_path / "made", manifest, graph, name, data)
    folder = small_bundles.write_bundle(tmp_path / "found", manifest, {"fp32.onnx": graph, name: data})
    (folder / "fp32.onnx").write_bytes(graph[:-1] + bytes([graph[-1] ^ 1]))

    with pytest.raises(InferenceError, match=r"fp32\.onnx"):
        Model.load(folder)


def test_the_trainers_word_counts(tmp_path: Path) -> None:
    """Our own pipeline reproduces itself and is refused all the same where the trainer's framework says otherwise."""
    manifest, graph, name, data = KINDS["picture"]
    manifest = with_golden(tmp_path / "made", manifest, graph, name, data)
    (golden,) = manifest.goldens
    score = golden.expect["fp32"].score
    for off, stages in ((0.009, []), (0.011, ["trained"]), (float("nan"), ["trained"])):
        trained = Trained(score=score + off, tolerance=0.01, framework="pencil and paper")
        changed = msgspec.structs.replace(manifest, goldens=(msgspec.structs.replace(golden, trained=trained),))
        model = Model.load(small_bundles.write_bundle(tmp_path / "b", manifest, {"fp32.onnx": graph, name: data}))
        model.manifest = msgspec.structs.replace(changed, files=model.manifest.files)
        found = check(model, tmp_path / "b")
        assert [difference.stage for difference in found] == stages
        assert all("pencil and paper says" in difference.detail for difference in found)


def test_a_site_that_sets_another_operating_point_changes_no_golden(tmp_path: Path) -> None:
    """Goldens are held to the manifest's own point, whatever the line judges by."""
    manifest, graph, name, data = KINDS["picture"]
    manifest = with_golden(tmp_path / "made", manifest, graph, name, data)
    model = Model.load(small_bundles.write_bundle(tmp_path / "b", manifest, {"fp32.onnx": graph, name: data}))
    model.operating_point = msgspec.structs.replace(manifest.operating_point, accept=-2.0, reject=-1.0)

    assert check(model, tmp_path / "b") == []


def test_a_golden_that_is_not_as_signed_is_named(tmp_path: Path) -> None:
    """The disk has changed or lost it: that says nothing of the engine, and proves nothing either."""
    manifest, graph, name, data = KINDS["picture"]
    manifest = with_golden(tmp_path / "made", manifest, graph, name, data)
    folder = small_bundles.write_bundle(tmp_path / "b", manifest, {"fp32.onnx": graph, name: data})
    model = Model.load(folder)
    for damage in (lambda: (folder / name).write_bytes(data + b" "), (folder / name).unlink):
        damage()
        assert [difference.stage for difference in check(model, folder)] == ["file"]


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
