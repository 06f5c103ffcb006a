import hashlib
from functools import partial
from pathlib import Path

import msgspec
import onnx
import pytest
from onnx import numpy_helper

from edge_agent.inference.engine import open_cache
from edge_agent.inference.hardware import architecture
from edge_agent.updates.proof import Report, judge
from edge_agent.updates.workshop import Workshop
from edge_protocol import bundle
from edge_protocol.bundle import File, Golden, Manifest, Variant
from tests.edge_agent.inference.small_bundles import window_graph
from tests.edge_agent.updates.line import PROVING, Line
from tests.edge_agent.updates.releases import Release, good, release

INTEGER = {"x86_64": "u8s8-7bit", "aarch64": "s8s8-arm"}.get(architecture(), "")

pytestmark = pytest.mark.skipif(not INTEGER, reason="there is no integer variant for this processor")


def off_by(shift: float) -> bytes:
    """The graph with other weights, as a bad quantization makes them."""
    model = onnx.load_from_string(window_graph())
    for weight in model.graph.initializer:
        if weight.name == "slope":
            weight.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(weight) + shift).astype("float32"), "slope"))
    return bytes(model.SerializeToString())


def two_variants(integers: bytes) -> Release:
    """A release that has integers as well, of which the same is expected as of the floats."""

    def add(manifest: Manifest) -> Manifest:
        golden = manifest.goldens[0]
        expect = {**golden.expect, INTEGER: golden.expect["fp32"]}
        file = File(hashlib.sha256(integers).hexdigest(), len(integers))
        return msgspec.structs.replace(
            manifest,
            variants=(Variant(name=INTEGER, file="int8.onnx"), *manifest.variants),
            goldens=(Golden(file=golden.file, expect=expect),),
            files={**manifest.files, "int8.onnx": file},
        )

    made = release("1.1.0", break_it=add)
    return Release(made.manifest, {**made.files, "int8.onnx": integers})


def sha256_of(made: Release, name: str) -> str:
    """The digest of a file."""
    return bundle.parse(made.manifest).files[name].sha256


def begin(folder: Path, made: Release) -> Line:
    """A start of the gateway whose self-tests are real and whose plans are rows."""
    line = Line(folder, (made,))
    line.workshop.cache = open_cache(folder / "cache", line.store)
    line.workshop.start_proof = partial(Workshop.start_proof, line.workshop)  # type: ignore[method-assign]
    line.name(made)
    return line


def is_kept(line: Line) -> bool:
    """The end of a good update."""
    row = line.ledger.slots().get("engine")
    return row is not None and row.phase == "kept" and row.version == "1.1.0"


def test_where_the_integers_fail_the_floats_are_fetched_and_run(tmp_path: Path) -> None:
    """Only then; the history says why, and the next start runs the floats too: their file is the one that is there."""
    made = two_variants(off_by(-0.1))
    line = begin(tmp_path, made).run(is_kept, PROVING)

    assert (line.pipeline.model.digest, line.pipeline.model.variant) == (made.digest, "fp32")
    (why,) = [note.detail for note in line.told if "does not do here" in note.detail]
    assert why.startswith(f"{INTEGER} does not do here, fp32 is tried: engine of golden.npy: ")
    assert sorted(path.name for path in (tmp_path / "slots" / made.digest).glob("*.onnx")) == ["fp32.onnx"]
    line.close()

    again = Line(tmp_path, (made,))
    assert again.pipeline.model.variant == "fp32"
    again.close()


@pytest.mark.slow
def test_where_the_integers_do_the_floats_are_never_asked_for(tmp_path: Path) -> None:
    """A gateway fetches what it runs, and nothing else; what the self-test measured is the plan from then on."""
    made = two_variants(off_by(0.00001))
    line = begin(tmp_path, made).run(is_kept, PROVING)

    assert line.pipeline.model.variant == INTEGER
    wanted = {sha256 for want in line.wants for sha256 in [want.sha256]}
    assert sha256_of(made, "int8.onnx") in wanted
    assert sha256_of(made, "fp32.onnx") not in wanted
    plan = line.workshop.cache.plans.get(made.digest)
    assert plan is not None
    assert plan.variant == INTEGER
    line.close()


@pytest.mark.slow
def test_when_all_variants_fail_the_release_is_refused(tmp_path: Path) -> None:
    """The last one's reason stands; another attempt begins with the first again."""
    made = two_variants(off_by(-0.1))
    files = {**made.files, "fp32.onnx": off_by(-0.2)}
    manifest = bundle.parse(made.manifest)
    listed = {**manifest.files, "fp32.onnx": File(hashlib.sha256(off_by(-0.2)).hexdigest(), len(off_by(-0.2)))}
    broken = Release(bundle.canonical(msgspec.structs.replace(manifest, files=listed)), files)

    line = begin(tmp_path, broken).run(lambda line: bool(line.ledger.refused("engine")), PROVING)

    assert line.ledger.refused("engine")[broken.digest].detail.startswith("engine of golden.npy: ")
    assert line.pipeline.model.digest == line.placed
    line.name(broken, rollout="r-2")
    line.run(lambda line: sum("does not do here" in note.detail for note in line.told) == 2, PROVING)
    line.close()


def test_other_ranks_are_a_matter_of_the_variant() -> None:
    """A variant that sorts parts otherwise than the floats is refused by name, and another one may do."""
    report = Report(variant=INTEGER, ranks="it sorts 4 parts otherwise than fp32", seconds=1.0)

    problem = judge(report, bundle.parse(good("1.1.0").manifest))

    assert problem is not None
    assert problem.detail == f"{INTEGER}: it sorts 4 parts otherwise than fp32"
    assert report.is_of_variant
    assert not Report(error="load: no").is_of_variant
