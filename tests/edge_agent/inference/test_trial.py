from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edge_agent.errors import InferenceError
from edge_agent.inference.hardware import architecture
from edge_agent.inference.model import Model
from edge_agent.inference.selftest import trace
from edge_agent.inference.trial import ranks_of_goldens, try_bundle
from edge_protocol.bundle import Expectation, Golden, Variant
from tests.edge_agent.inference.small_bundles import LENGTH, npy, window_graph, window_manifest, write_bundle

INTEGER = {"x86_64": "u8s8-7bit", "aarch64": "s8s8-arm"}.get(architecture(), "")
VARIANTS = (Variant(name=INTEGER, file="int8.onnx"), Variant(name="fp32", file="fp32.onnx"))
PARTS = [npy(np.sin(np.arange(LENGTH) * (0.3 + 0.6 * n)) * (1 + n)) for n in range(4)]

pytestmark = pytest.mark.skipif(not INTEGER, reason="there is no integer variant for this processor")


def upside_down() -> bytes:
    """A graph that calls good what the other one calls bad."""
    model = onnx.load_from_string(window_graph())
    for weight in model.graph.initializer:
        if weight.name == "slope":
            weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), "slope"))
    return bytes(model.SerializeToString())


def laborious() -> bytes:
    """A graph that gives the same answers, and multiplies large matrices on the way."""
    model = onnx.load_from_string(window_graph())
    side = 384
    large = numpy_helper.from_array(np.zeros((side, side), np.float32), "large")
    wide = numpy_helper.from_array(np.zeros((1, side), np.float32), "wide")
    model.graph.initializer.extend([large, wide])
    first = model.graph.node[0]
    nodes = [
        helper.make_node("ReduceSum", ["features"], ["sum"], keepdims=1),
        helper.make_node("Mul", ["large", "sum"], ["work"]),
        helper.make_node("MatMul", ["work", "work"], ["worked"]),
        helper.make_node("ReduceMax", ["worked"], ["zero"], keepdims=0),
        helper.make_node("Add", ["features", "zero"], ["same"]),
    ]
    first.input[0] = "same"
    kept = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *kept])
    return bytes(model.SerializeToString())


def expect(graph: bytes, part: bytes) -> Expectation:
    """What a graph says of a part here."""
    with TemporaryDirectory() as folder:
        made = write_bundle(Path(folder) / "made", window_manifest(), {"fp32.onnx": graph})
        found = trace(Model.load(made), part)
    return Expectation(verdict=found.verdict, score=found.score, margin=0.05, stages=found.stages)  # type: ignore[arg-type]


def write(folder: Path, integers: bytes, parts: list[bytes]) -> Path:
    """A bundle with two variants, each of which reproduces its own goldens."""
    names = [f"part-{n}.npy" for n in range(len(parts))]
    goldens = tuple(
        Golden(file=name, expect={INTEGER: expect(integers, part), "fp32": expect(window_graph(), part)})
        for name, part in zip(names, parts, strict=True)
    )
    files = {"fp32.onnx": window_graph(), "int8.onnx": integers, **dict(zip(names, parts, strict=True))}
    return write_bundle(folder, window_manifest(variants=VARIANTS, goldens=goldens), files)


def test_a_variant_that_sorts_parts_otherwise_is_no_candidate(tmp_path: Path) -> None:
    """Its goldens pass, for they were made with it: the floats that are here say that its order is another."""
    folder = write(tmp_path / "bundle", upside_down(), PARTS[:2])

    found = try_bundle(folder, seconds=1.0)

    assert found.plan.variant == "fp32"
    notes = {each.note for each in found.tried if each.plan.variant == INTEGER}
    assert all("sorts" in note and "rank correlation -1.00" in note for note in notes)


def test_without_floats_the_goldens_know_their_order(tmp_path: Path) -> None:
    """A gateway that fetched only the integers compares with the floats' signed scores; too few say nothing."""
    folder = write(tmp_path / "bundle", upside_down(), PARTS)
    (folder / "fp32.onnx").unlink()

    assert "rank correlation -1.00" in ranks_of_goldens(Model.load(folder), folder)
    with pytest.raises(InferenceError, match="sorts 4 parts otherwise"):
        try_bundle(folder, seconds=1.0)

    few = write(tmp_path / "few", upside_down(), PARTS[:3])
    assert ranks_of_goldens(Model.load(few, variant=INTEGER), few) == ""


@pytest.mark.slow
def test_integers_that_are_slower_than_floats_are_not_chosen(tmp_path: Path) -> None:
    """Same answers, more time: the floats run. What they are compared with is told."""
    folder = write(tmp_path / "bundle", laborious(), PARTS[:2])

    found = try_bundle(folder, seconds=1.5)

    assert found.plan.variant == "fp32"
    assert min(each.share for each in found.tried if each.plan.variant == "fp32" and not each.note) < 0.98


def test_only_what_is_asked_for_is_tried(tmp_path: Path) -> None:
    """A configured variant is the only one, however slow."""
    folder = write(tmp_path / "bundle", laborious(), PARTS[:2])

    found = try_bundle(folder, variant=INTEGER, seconds=0.3)

    assert {each.plan.variant for each in found.tried} == {INTEGER}
    assert found.audits[INTEGER].integer == 0


def test_a_plan_whose_goldens_differ_is_none(tmp_path: Path) -> None:
    """What does not judge here as it was taught is not timed."""
    folder = write(tmp_path / "bundle", window_graph(), PARTS[:2])
    part = folder / "part-0.npy"
    other = expect(upside_down(), part.read_bytes())
    golden = Golden(file="part-0.npy", expect={INTEGER: other, "fp32": expect(window_graph(), part.read_bytes())})
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}
    write_bundle(folder, window_manifest(variants=VARIANTS, goldens=(golden,)), files)

    found = try_bundle(folder, seconds=1.0)

    assert found.plan.variant == "fp32"
    assert "engine of part-0.npy" in found.tried[0].note
