import hashlib
import importlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_agent import config
from edge_agent.clock import FixedClock
from edge_agent.inference.engine import Engine
from edge_agent.judgement import Judgement
from edge_agent.sample import Trigger
from edge_agent.store import Store
from edge_agent.telemetry.outbox import Outbox
from edge_protocol import bundle
from edge_protocol.batch import Context
from edge_protocol.bundle import AnomalyOutput, File, ImageInput, Manifest, OperatingPoint, Variant
from edge_protocol.codes import Reason, Verdict
from scripts.benches import __main__ as bench
from scripts.benches.failure import BenchError
from scripts.benches.ground import arithmetic, gateway, wire
from scripts.benches.ground.line import Line

SIDE = 16


def test_every_bench_that_is_listed_says_what_it_measures() -> None:
    """`scripts/bench` lists packages only, and each of their figures has a meaning."""
    names = bench.names()

    figures = [importlib.import_module(f"scripts.benches.{name}").FIGURES for name in names]

    assert "ground" in names
    assert all(meaning for each in figures for meaning in each.values())


@pytest.fixture
def graph() -> bytes:
    """A backbone of one convolution and a head that averages it: `map` and `score`."""
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["feat"], "0_Conv", kernel_shape=[1, 1]),
        helper.make_node("ReduceMean", ["feat", "axis"], ["map"], "head_1_ReduceMean", keepdims=0),
        helper.make_node("ReduceMean", ["map"], ["mean"], "head_2_ReduceMean", keepdims=0),
        helper.make_node("Reshape", ["mean", "one"], ["score"], "head_3_Reshape"),
    ]
    weights = {"weight": np.full((2, 3, 1, 1), 1 / 3, np.float32), "axis": np.array([1]), "one": np.array([1])}
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])]
    outputs = [
        helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, SIDE, SIDE]),
        helper.make_tensor_value_info("score", TensorProto.FLOAT, [1]),
    ]
    kept = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    made = helper.make_graph(nodes, "small", inputs, outputs, kept)
    model: bytes = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    ).SerializeToString()
    return model


@pytest.fixture
def small_bundle(tmp_path: Path, graph: bytes) -> Path:
    """The graph as a bundle that finds everything OK."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "fp32.onnx").write_bytes(graph)
    manifest = Manifest(
        schema=1,
        name="small",
        version="1.0.0",
        task="image-anomaly",
        input=ImageInput(tensor="image", width=SIDE, height=SIDE),
        output=AnomalyOutput(),
        operating_point=OperatingPoint(accept=300.0, reject=400.0),
        variants=(Variant(name="fp32", file="fp32.onnx"),),
        files={"fp32.onnx": File(hashlib.sha256(graph).hexdigest(), len(graph))},
    )
    (folder / bundle.MANIFEST).write_bytes(bundle.canonical(manifest))
    return folder


def test_a_backbone_is_what_the_head_looks_at(graph: bytes) -> None:
    """Without its head a model gives the maps that the head saw, and none of its nodes is run."""
    picture = np.random.default_rng(1).random((1, 3, SIDE, SIDE), np.float32)

    stripped = arithmetic.backbone(graph)

    outputs = Engine(stripped).run({"image": picture})
    assert [node.name for node in onnx.load_from_string(stripped).graph.node] == ["0_Conv"]
    assert outputs.keys() == {"feat"}
    np.testing.assert_allclose(outputs["feat"][0, 0], picture[0].mean(axis=0), rtol=1e-5)


def test_what_the_bench_feeds_is_judged_and_on_record(tmp_path: Path, small_bundle: Path) -> None:
    """A measured line does all the work of a real one: each part has its verdict, told to the line and recorded."""
    rng = np.random.default_rng(1)
    pictures = [rng.integers(60, 200, (4 * SIDE, 4 * SIDE, 3), np.uint8) for _ in range(3)]
    line = Line(tmp_path / "line", small_bundle, pictures)

    rate = line.parts_per_s(0.05)
    line.close()

    store = Store.open(tmp_path / "line" / "data" / "lineside.db", quota_bytes=2**26, clock=FixedClock())
    totals = Outbox(store, "bench").totals()
    store.close()
    told = (tmp_path / "line" / "verdicts.jsonl").read_bytes().count(b"\n")
    assert rate > 0
    assert totals["surface"]["OK"] == told == line.frames.taken == len(line.frames.verdicts) > 0


def test_a_line_that_stopped_is_no_figure(tmp_path: Path, small_bundle: Path) -> None:
    """An agent that has ended is said, not waited for."""
    line = Line(tmp_path / "line", small_bundle, [b"no picture"])
    line.close()

    with pytest.raises(BenchError):
        line.parts_per_s(0.05)


def test_only_whole_batches_of_a_hundred_are_weighed(tmp_path: Path) -> None:
    """Of 250 recorded verdicts the wire's figure counts two batches of 100, parts and signature included."""
    folder = tmp_path / "gateway"
    store = Store.open(gateway.data_dir(folder) / "lineside.db", quota_bytes=2**26, clock=FixedClock())
    Outbox(store, gateway.ID).append([_judgement(store, n) for n in range(1, 251)])
    store.close()

    figures = wire.measure(folder)

    # 4 bytes of a score that is noise, and 64 of a signature: less would have left something out.
    assert 4.64 < figures["wire_bytes_per_verdict"] < 40


def _judgement(store: Store, n: int) -> Judgement:
    score = float(np.random.default_rng(n).random())
    mono_us = store.clock.mono_us() + 50_000 * n
    trigger = Trigger(store.epoch, n, store.clock.wall_us() + 50_000 * n, mono_us, part=f"P{n:06d}")
    return Judgement(trigger, "surface", Context("surface"), Verdict.OK, Reason.NONE, score, 11_000)


def test_settings_of_a_measured_gateway_are_those_of_any(tmp_path: Path) -> None:
    """The measured gateway's configuration is one that an agent takes."""
    file = tmp_path / "gateway.toml"
    file.write_text(gateway.configuration(broker_port=1883))

    loaded = config.load(file)

    assert [pipeline.bundle for pipeline in loaded.pipelines] == ["surface-anomaly", "engine-fault"]
