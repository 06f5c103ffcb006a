import numpy as np
import onnx
import pytest

from cloud_hub.factory.graph import Graph
from cloud_hub.factory.quantize import ARITHMETICS, quantize
from edge_agent.inference.engine import Engine

pytestmark = pytest.mark.filterwarnings("ignore")  # the library's own; none of them is about us

RNG = np.random.default_rng(12)


@pytest.fixture(scope="module")
def model() -> bytes:
    """A convolution with a clip, a depthwise one and another that takes all channels."""
    graph = Graph("small")
    weights = [RNG.normal(scale=0.3, size=(8, i, 3, 3)).astype(np.float32) for i in (3, 1, 8)]
    x = graph.node("Conv", "image", weights[0], np.zeros(8, np.float32), pads=[1, 1, 1, 1])
    x = graph.node("Clip", x, np.array(0, np.float32), np.array(6, np.float32))
    x = graph.node("Conv", x, weights[1], np.zeros(8, np.float32), pads=[1, 1, 1, 1], group=8)
    graph.node("Conv", x, weights[2], np.zeros(8, np.float32), pads=[1, 1, 1, 1], output="out")
    return graph.model({"image": [1, 3, 16, 16]}, {"out": [1, 8, 16, 16]})


@pytest.fixture(scope="module")
def tensors() -> list[np.ndarray]:
    """Inputs to calibrate with and to compare on."""
    return [RNG.normal(size=(1, 3, 16, 16)).astype(np.float32) for _ in range(12)]


@pytest.fixture(scope="module")
def variants(model: bytes, tensors: list[np.ndarray]) -> dict[str, bytes]:
    """All int8 variants of the small model."""
    return quantize(model, "image", tensors)


def weights_of(model: bytes) -> list[np.ndarray]:
    """The int8 weights of the convolutions."""
    arrays = [onnx.numpy_helper.to_array(w) for w in onnx.load_from_string(model).graph.initializer]
    return [array for array in arrays if array.ndim == 4]


def test_every_variant_is_close_to_the_float_model(
    model: bytes, variants: dict[str, bytes], tensors: list[np.ndarray]
) -> None:
    """Computed as their arithmetic means, all variants agree with single precision to a few per cent."""
    exact = np.stack([Engine(model).run({"image": t})["out"] for t in tensors])
    for name, variant in variants.items():
        engine = Engine(variant, optimise=False)
        found = np.stack([engine.run({"image": t})["out"] for t in tensors])
        assert np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.995, name


def test_there_is_a_variant_of_each_arithmetic(variants: dict[str, bytes]) -> None:
    """VNNI, seven bits and ARM, each by its name."""
    assert set(variants) == {arithmetic.variant.name for arithmetic in ARITHMETICS}


def test_seven_bits_are_seven_bits(variants: dict[str, bytes]) -> None:
    """Where two products are summed in sixteen bits no weight is beyond ±64; elsewhere all eight are used."""
    dense, depthwise = (
        {
            name: max(int(np.abs(w.astype(int)).max()) for w in weights_of(model) if (w.shape[1] == 1) is is_depthwise)
            for name, model in variants.items()
        }
        for is_depthwise in (False, True)
    )

    assert dense["u8s8-7bit"] <= 64
    assert depthwise["u8s8-7bit"] == dense["u8s8-vnni"] == depthwise["u8s8-vnni"] == 127


def test_seven_bits_run_as_they_mean(variants: dict[str, bytes], tensors: list[np.ndarray]) -> None:
    """On any x86 the fused integer kernels give what the arithmetic means, to one step of rounding."""
    fused, exact = Engine(variants["u8s8-7bit"]), Engine(variants["u8s8-7bit"], optimise=False)
    for tensor in tensors:
        a, b = (engine.run({"image": tensor})["out"] for engine in (fused, exact))
        assert np.abs(a - b).max() < 0.02 * np.abs(b).max()


def test_weights_have_a_scale_for_each_channel(variants: dict[str, bytes]) -> None:
    """One strong channel does not take the steps of the others."""
    for variant in variants.values():
        scales = [i for i in onnx.load_from_string(variant).graph.initializer if i.name.endswith("_scale")]
        assert sum(tuple(scale.dims) == (8,) for scale in scales) >= 2
