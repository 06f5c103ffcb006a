"""Variants on a processor that this machine may not be: Haswell, AVX2 without VNNI, as qemu emulates it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edge_agent.inference.model import Model
from edge_agent.inference.selftest import trace
from edge_protocol.bundle import Expectation, Golden, OperatingPoint, Variant
from tests.edge_agent.inference.small_bundles import SIDE, image_manifest, png, write_bundle

CHANNELS = 64
VARIANTS = ("fp32", "u8s8-7bit", "u8s8-vnni")
CHILD_S = 900

CHILD = """
import json, sys
from pathlib import Path
from msgspec.structs import replace
from edge_agent.inference import selftest
from edge_agent.inference.model import Model
folder = Path(sys.argv[1])
found = {}
for word in sys.argv[2:]:
    variant, _, goldens = word.partition(":")
    model = Model.load(folder, variant=variant)
    if goldens:
        model.manifest = replace(model.manifest, goldens=model.manifest.goldens[: int(goldens)])
    score = selftest.trace(model, (folder / model.manifest.goldens[0].file).read_bytes()).score
    found[variant] = [[each.stage for each in selftest.check(model, folder)], score]
print(json.dumps(found))
"""

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of onnxruntime's quantizer
]


def network(rng: np.random.Generator) -> bytes:
    """Two wide convolutions whose sums are large, a map of distances and its peak."""
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["wide"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Relu", ["wide"], ["bright"]),
        helper.make_node("Conv", ["bright", "second"], ["narrow"], kernel_shape=[3, 3], pads=[1] * 4, strides=[4, 4]),
        helper.make_node("Relu", ["narrow"], ["seen"]),
        helper.make_node("ReduceMean", ["seen"], ["map"], axes=[1], keepdims=0),
        helper.make_node("ReduceMax", ["map"], ["peak"], keepdims=0),
        helper.make_node("Reshape", ["peak", "one"], ["score"]),
    ]
    weights = {
        "first": rng.uniform(0.2, 1, (CHANNELS, 3, 3, 3)).astype(np.float32),
        "second": rng.uniform(0.2, 1, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32),
        "one": np.array([1], np.int64),
    }
    graph = helper.make_graph(
        nodes, "other-processor",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [
            helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, SIDE // 4, SIDE // 4]),
            helper.make_tensor_value_info("score", TensorProto.FLOAT, [1]),
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Tensors of noise."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._left: Iterator[Any] = iter(
            [{"image": rng.uniform(0, 1, (1, 3, SIDE, SIDE)).astype(np.float32)} for _ in range(8)]
        )

    def get_next(self) -> Any:
        return next(self._left, None)


def quantize(folder: Path, model: bytes, *, reduce_range: bool) -> bytes:
    """Unsigned activations, signed weights of eight or of seven bits."""
    source, target = folder / "source.onnx", folder / "target.onnx"
    source.write_bytes(model)
    quantize_static(
        str(source), str(target), Calibration(np.random.default_rng(3)), quant_format=QuantFormat.QDQ,
        per_channel=True, reduce_range=reduce_range, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return target.read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of three variants with a golden, each expected to be what its arithmetic means."""
    root = tmp_path_factory.mktemp("other")
    float_model = network(np.random.default_rng(1))
    models = {
        "fp32": float_model,
        "u8s8-7bit": quantize(root, float_model, reduce_range=True),
        "u8s8-vnni": quantize(root, float_model, reduce_range=False),
    }
    data = png(np.random.default_rng(2).integers(100, 256, (SIDE, SIDE, 3), np.uint8))
    variants = tuple(Variant(name=name, file=f"{name}.onnx") for name in VARIANTS)
    files = {f"{name}.onnx": model for name, model in models.items()} | {"golden.png": data}
    manifest = image_manifest(variants=variants)
    write_bundle(root / "draft", manifest, files)
    # Node by node nothing is fused into the processor's integer kernels: what comes out is what is meant.
    found = {name: trace(Model.load(root / "draft", variant=name, optimise=name == "fp32"), data) for name in VARIANTS}
    reject = 0.8 * found["fp32"].score
    expect = {
        name: Expectation(verdict="NG", score=each.score, margin=each.score - reject, stages=each.stages)
        for name, each in found.items()
    }
    golden = Golden(file="golden.png", expect=expect)
    point = OperatingPoint(accept=reject / 2, reject=reject)
    return write_bundle(root / "bundle", replace(manifest, goldens=(golden,), operating_point=point), files)


def on_haswell(qemu: str, folder: Path, *variants: str) -> dict[str, tuple[list[str], float]]:
    """What the self-test says there: for each variant the stages that differ, and the score of its first golden.

    A variant as `fp32:2` is asked its first two goldens only: the emulation takes seconds for each.
    """
    done = subprocess.run(
        [qemu, "-cpu", "Haswell", os.path.realpath(sys.executable), "-c", CHILD, str(folder), *variants],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=CHILD_S,
        # The interpreter itself, and not the link in the virtual environment: qemu runs a file.
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, tuple[list[str], float]] = json.loads(done.stdout)
    return found


def test_float_and_seven_bits_are_the_same_everywhere_and_eight_bits_are_not(qemu: str, folder: Path) -> None:
    """Without VNNI two products of eight bits overflow their 16-bit sum: the goldens see it, and blame the engine."""
    found = on_haswell(qemu, folder, *VARIANTS)

    meant = Model.load(folder, variant="u8s8-vnni").manifest.goldens[0].expect["u8s8-vnni"].score
    assert abs(found["u8s8-vnni"][1] - meant) > 0.02 * meant
    assert {name: stages for name, (stages, _) in found.items()} == {
        "fp32": [], "u8s8-7bit": [], "u8s8-vnni": ["engine"],
    }  # fmt: skip
