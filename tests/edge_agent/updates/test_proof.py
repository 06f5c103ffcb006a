import hashlib
import sys
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_agent.updates.proof import Proof, Report, judge
from edge_protocol import bundle
from edge_protocol.bundle import Budget
from edge_protocol.updates import Refusal
from tests.edge_agent.inference import small_bundles
from tests.edge_agent.updates.releases import Release, good, other_normalisation, release


def write(folder: Path, made: Release) -> Path:
    """A slot."""
    folder.mkdir()
    for name, content in {**made.files, bundle.MANIFEST: made.manifest}.items():
        (folder / name).write_bytes(content)
    return folder


def prove(tmp_path: Path, made: Release, deadline_s: float = 60.0) -> Proof:
    """The self-test of a release, ended."""
    slot = write(tmp_path / "slot", made)
    found = Proof(slot, bundle.parse(made.manifest), variant="", cache=tmp_path / "cache", deadline_s=deadline_s)
    while not found.poll():
        threading.Event().wait(0.02)
    return found


def test_a_good_release_proves_itself_and_leaves_its_model_in_the_cache(tmp_path: Path) -> None:
    """No problem, numbers of what it took, an optimised model for the activation, and nothing else left."""
    found = prove(tmp_path, good("1.1.0"))

    assert found.problem is None
    assert (found.report.variant, found.report.differences) == ("fp32", ())
    assert 20 < found.report.rss_mb < 250
    assert 0 < found.report.latency_ms < 100
    (path,) = (tmp_path / "cache").glob("*.opt")
    assert found.report.optimised == {path.stem: hashlib.sha256(path.read_bytes()).hexdigest()}
    assert found.report.plan is not None
    assert found.report.plan.variant == "fp32"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "slot"]


def test_the_first_stage_that_differs_is_named_with_its_golden(tmp_path: Path) -> None:
    """Another normalisation: `normalise of golden.npy`, with what was found and expected."""
    found = prove(tmp_path, release("1.2.0", break_it=other_normalisation))

    assert found.problem is not None
    assert found.problem.refusal is Refusal.SELF_TEST_FAILED
    assert found.problem.detail.startswith("normalise of golden.npy: ")


def test_one_that_is_late_is_ended(tmp_path: Path) -> None:
    """After the deadline there is no child any more, and the detail says how long was waited."""
    found = prove(tmp_path, good("1.1.0"), deadline_s=0.05)

    assert found.problem is not None
    assert found.problem.detail == "no result within 0 s"
    assert found._child.returncode is not None


def greedy(budget_mb: int) -> Release:
    """A release that takes 400 MB while it loads: a constant that is made when the graph is optimised."""
    bands = small_bundles.BANDS
    one = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["ones"], value=one),
        helper.make_node("ReduceMean", ["ones"], ["one"], keepdims=0),
        helper.make_node("Mul", ["features", "one"], ["same"]),
        helper.make_node("MatMul", ["same", "slope"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["p"]),
        helper.make_node("Sub", ["unit", "p"], ["q"]),
        helper.make_node("Concat", ["q", "p"], ["probabilities"], axis=1),
    ]  # fmt: skip
    weights: dict[str, np.ndarray] = {
        "size": np.array([100_000_000], np.int64),
        "slope": np.ones((bands, 1), np.float32),
        "unit": np.ones((1, 1), np.float32),
    }
    graph = helper.make_graph(
        nodes, "greedy", [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, bands])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    made = release("1.3.0")
    files = {**made.files, "fp32.onnx": bytes(model.SerializeToString())}

    listed = {name: bundle.File(hashlib.sha256(each).hexdigest(), len(each)) for name, each in files.items()}
    manifest = bundle.parse(made.manifest)
    changed = msgspec.structs.replace(manifest, files=listed, budget=Budget(rss_mb=budget_mb))
    return Release(bundle.canonical(changed), files)


def test_one_that_takes_more_than_its_budget_is_stopped(tmp_path: Path) -> None:
    """The kernel gives the child no more than its budget and some slack: the gateway's memory is safe meanwhile."""
    found = prove(tmp_path, greedy(150))

    assert found.problem is not None
    assert found.problem.refusal is Refusal.SELF_TEST_FAILED
    assert found.problem.detail == "memory: above its budget of 150 MB"


@pytest.mark.parametrize("how", ["SIGSEGV", "exit"])
def test_a_child_that_dies_is_a_failed_self_test(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash of the runtime ends the child, and only the child; the detail says how it ended."""
    slot = write(tmp_path / "slot", good("1.1.0"))
    program = "import os; os.kill(os.getpid(), 11)" if how == "SIGSEGV" else "raise SystemExit('no way')"
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{program}"\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))

    found = Proof(slot, bundle.parse(good("1.1.0").manifest), variant="", cache=tmp_path / "cache", deadline_s=60)
    while not found.poll():
        threading.Event().wait(0.02)

    assert found.problem is not None
    assert found.problem.detail == "the self-test ended by " + ("signal 11" if how == "SIGSEGV" else "no way")


def test_a_child_that_dies_while_it_looks_for_a_plan_has_proved_its_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was said before counts: a plan is worth having, and no condition."""
    slot = write(tmp_path / "slot", good("1.1.0"))
    said = msgspec.json.encode(Report(variant="fp32", rss_mb=50.0, latency_ms=1.0, seconds=1.0)).decode()
    program = f"import os; print({said!r}, flush=True); os.kill(os.getpid(), 9)"
    (tmp_path / "program.py").write_text(program)
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\nexec {sys.executable} {tmp_path / 'program.py'}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))

    found = Proof(slot, bundle.parse(good("1.1.0").manifest), variant="", cache=tmp_path / "cache", deadline_s=60)
    while not found.poll():
        threading.Event().wait(0.02)

    assert found.problem is None
    assert (found.report.variant, found.report.plan) == ("fp32", None)


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (Report(error="load: the graph has no output map"), "load: the graph has no output map"),
        (Report(differences=("score of a.png: 1", "score of b.png: 2")), "score of a.png: 1; 2 of 1 goldens differ"),
        (Report(rss_mb=300.0), "memory: 300 MB, its budget is 256 MB"),
        (Report(latency_ms=1200.0), "time: 1200 ms a part, its budget is 1000 ms"),
    ],
)
def test_a_report_is_judged_by_the_manifest(report: Report, words: str) -> None:
    """An error, a difference, memory and time above the budget: each says what."""
    problem = judge(report, bundle.parse(good("1.1.0").manifest))

    assert problem is not None
    assert problem.detail == words


def test_a_bundle_without_goldens_has_proved_nothing() -> None:
    """Nothing shows that it judges here as it was taught."""
    manifest = msgspec.structs.replace(bundle.parse(good("1.1.0").manifest), goldens=())

    problem = judge(Report(), manifest)

    assert problem is not None
    assert "no goldens" in problem.detail
