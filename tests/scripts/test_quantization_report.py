"""What a report says of int8 variants is read off the files as they are shipped."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from cloud_hub.factory.graph import Graph
from cloud_hub.factory.quantize import ARITHMETICS, prepared
from edge_protocol.bundle import Variant
from scripts.reports.quantization import nodes_in_float, report, told_floats
from tests.edge_agent.inference.small_bundles import image_graph, image_manifest, write_bundle

RNG = np.random.default_rng(3)
TENSORS = [RNG.normal(size=(1, 3, 8, 8)).astype(np.float32) for _ in range(4)]


@pytest.mark.filterwarnings("ignore")  # the library's own; none of them is about us
def test_nodes_that_were_left_in_float_are_named() -> None:
    """Named is what was left in float, and nothing where all weights are integers."""
    graph = Graph("small")
    weights = [RNG.normal(size=(4, i, 3, 3)).astype(np.float32) for i in (3, 4)]
    middle = graph.node("Conv", "image", weights[0], np.zeros(4, np.float32), pads=[1, 1, 1, 1])
    graph.node("Conv", middle, weights[1], np.zeros(4, np.float32), pads=[1, 1, 1, 1], output="out")
    floats = graph.model({"image": [1, 3, 8, 8]}, {"out": [1, 4, 8, 8]})

    with prepared(floats, "image", TENSORS) as quantizer:
        whole, names = quantizer.make(ARITHMETICS[0]), nodes_in_float(onnx.load_from_string(floats))
        partly = quantizer.make(ARITHMETICS[0], names[:1])

    assert len(names) == len(weights)
    assert nodes_in_float(onnx.load_from_string(whole)) == []
    assert nodes_in_float(onnx.load_from_string(partly)) == names[:1]


def test_the_head_is_told_apart_from_what_the_guard_left_in_float() -> None:
    """What is in float by design is no part of the number that the card gives."""
    assert told_floats(["0_Conv", "head_4_Gemm"]) == "in float: 0_Conv; and always the head: head_4_Gemm"
    assert told_floats(["head_4_Gemm"]) == "in float: none; and always the head: head_4_Gemm"
    assert told_floats(["0_Conv"]) == "in float: 0_Conv"


def test_a_bundle_that_cannot_be_read_is_said_and_the_next_one_is_measured(tmp_path: Path) -> None:
    """One damaged bundle costs the report no line of the others, and is told with its cure."""
    variants = (Variant(name="fp32", file="fp32.onnx"), Variant(name="s8s8-arm", file="arm.onnx", arch=("aarch64",)))
    files = {"fp32.onnx": image_graph(), "arm.onnx": image_graph()}
    for name in ("a", "b"):
        write_bundle(tmp_path / name, image_manifest(variants=variants), files)
    (tmp_path / "a" / "arm.onnx").write_bytes(b"damaged")

    first, second, *_ = report(tmp_path)

    assert first.startswith("a: not measured: ")
    assert first.endswith("; build it anew: scripts/build_models a")
    assert second.startswith("b s8s8-arm: ")
