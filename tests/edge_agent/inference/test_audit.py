from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edge_agent.inference import engine
from edge_agent.inference.audit import Audit, audit, rank_correlation
from edge_agent.inference.hardware import architecture
from tests.edge_agent.inference import small_bundles

BLOCKS = 4


def residual_network() -> onnx.ModelProto:
    """Convolutions with shortcuts over every two, as a residual network has them."""
    rng = np.random.default_rng(3)
    nodes, weights, last = [], [], "image"
    for n in range(BLOCKS):
        for part in ("a", "b"):
            name, size = f"conv_{n}{part}", 3 if last == "image" else 16
            weights.append(
                numpy_helper.from_array(rng.normal(0, 0.1, (16, size, 3, 3)).astype(np.float32), f"{name}_w")
            )
            nodes.append(helper.make_node("Conv", [last, f"{name}_w"], [name], name=name, pads=[1, 1, 1, 1]))
            nodes.append(helper.make_node("Relu", [name], [f"{name}_r"], name=f"{name}_relu"))
            before, last = last, f"{name}_r"
        if n:
            nodes.append(helper.make_node("Add", [last, f"block_{n - 1}"], [f"block_{n}"], name=f"add_{n}"))
        else:
            nodes.append(helper.make_node("Add", [last, before], [f"block_{n}"], name=f"add_{n}"))
        last = f"block_{n}"
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 16, 16])
    out = helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, 16, 16, 16])
    graph = helper.make_graph(nodes, "residual", [image], [out], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


class Noise(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """A few inputs."""

    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self._left = [{"image": rng.normal(size=(1, 3, 16, 16)).astype(np.float32)} for _ in range(4)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self._left.pop() if self._left else None


def quantized(folder: Path, activations: QuantType) -> bytes:
    """The network in integers, as the library makes them."""
    onnx.save(residual_network(), folder / "float.onnx")
    quantize_static(
        str(folder / "float.onnx"), str(folder / "int8.onnx"), Noise(), quant_format=QuantFormat.QDQ,
        activation_type=activations, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return (folder / "int8.onnx").read_bytes()


@pytest.mark.skipif(architecture() != "x86_64", reason="which nodes stay in float is a matter of the processor")
def test_the_librarys_default_leaves_half_in_float_and_is_seen(tmp_path: Path) -> None:
    """Signed activations, which is what quantization gives unasked, on x86: the audit counts what runs in float."""
    signed = audit(engine.optimise(quantized(tmp_path, QuantType.QInt8)))

    assert signed.compute == 2 * BLOCKS
    assert signed.share < 0.9
    assert signed.warning.startswith(f"{signed.integer} of {2 * BLOCKS} compute nodes run in integers; in float: ")


@pytest.mark.skipif(architecture() != "x86_64", reason="which nodes stay in float is a matter of the processor")
def test_unsigned_activations_run_in_integers(tmp_path: Path) -> None:
    """As our recipes make them every convolution is an integer one: there is nothing to warn of."""
    unsigned = audit(engine.optimise(quantized(tmp_path, QuantType.QUInt8)))

    assert (unsigned.integer, unsigned.compute, unsigned.warning) == (2 * BLOCKS, 2 * BLOCKS, "")


def test_a_float_model_has_no_integer_node() -> None:
    """All that computes is named; a model that computes nothing has nothing to warn of."""
    found = audit(engine.optimise(small_bundles.image_graph()))

    assert (found.integer, found.share) == (0, 0.0)
    assert Audit(0, 0, ()).share == 1.0


@pytest.mark.parametrize(
    ("ones", "others", "found"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3, 4], [1, 3, 2, 4], 0.8),
        ([1, 1, 2, 2], [5, 5, 6, 6], 1.0),
        ([1, 1, 1], [3, 1, 2], 1.0),
    ],
)
def test_ranks_are_those_of_spearman(ones: list[float], others: list[float], found: float) -> None:
    """What is sorted alike is 1, the other way round is -1; equal ones share their place."""
    assert rank_correlation(ones, others) == pytest.approx(found)


def test_ranks_agree_with_scipy() -> None:
    """The same number for values with ties."""
    from scipy.stats import spearmanr

    rng = np.random.default_rng(8)
    ones, others = rng.integers(0, 8, 40).tolist(), rng.integers(0, 8, 40).tolist()

    assert rank_correlation(ones, others) == pytest.approx(spearmanr(ones, others).statistic)
