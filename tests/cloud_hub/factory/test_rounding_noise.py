"""Which node's rounding harms most is measured, one node at a time, with the scales of the variant itself."""

import numpy as np
import onnx
import pytest

from cloud_hub.errors import FactoryError
from cloud_hub.factory import rounding_noise
from cloud_hub.factory.graph import Graph
from cloud_hub.factory.quantize import ARITHMETICS, prepared
from edge_agent.inference.engine import Engine

pytestmark = pytest.mark.filterwarnings("ignore")  # the library's own; none of them is about us

RNG = np.random.default_rng(5)
TENSORS = [RNG.normal(size=(1, 3, 16, 16)).astype(np.float32) for _ in range(8)]
VNNI = ARITHMETICS[0]


def small_model(width: int = 8) -> bytes:
    """Three convolutions, a clip behind the first, which gives `width` channels, and the others 8.

    The weights of the second span what eight bits cannot.
    """
    rng = np.random.default_rng(7)  # of its own: each call makes the same model
    sides = ((width, 3), (8, width), (8, 8))
    weights = [rng.normal(scale=0.3, size=(*each, 3, 3)).astype(np.float32) for each in sides]
    weights[1][:, 0, 0, 0] = 40.0
    graph = Graph("small")
    x = graph.node("Conv", "image", weights[0], np.zeros(width, np.float32), pads=[1, 1, 1, 1])
    x = graph.node("Clip", x, np.array(0, np.float32), np.array(6, np.float32))
    x = graph.node("Conv", x, weights[1], np.zeros(8, np.float32), pads=[1, 1, 1, 1])
    graph.node("Conv", x, weights[2], np.zeros(8, np.float32), pads=[1, 1, 1, 1], output="out")
    return graph.model({"image": [1, 3, 16, 16]}, {"out": [1, 8, 16, 16]})


def test_the_node_that_rounding_harms_most_comes_first() -> None:
    """Of three convolutions the one whose weights do not fit eight bits is the worst, by far."""
    with prepared(small_model(), "image", TENSORS) as quantizer:
        found = rounding_noise.by_node(quantizer.prepared, quantizer.make(VNNI), "image", TENSORS[:3])

    convolutions = [n.name for n in onnx.load_from_string(small_model()).graph.node if n.op_type == "Conv"]
    assert found[0].node == convolutions[1]
    assert found[0].share > 3 * found[1].share
    assert {noise.node for noise in found} == set(convolutions)


def test_what_is_left_in_float_brings_no_noise() -> None:
    """A node that the variant keeps in float is not among those that round."""
    with prepared(small_model(), "image", TENSORS) as quantizer:
        worst = rounding_noise.by_node(quantizer.prepared, quantizer.make(VNNI), "image", TENSORS[:3])[0].node
        spared = quantizer.make(VNNI, [worst])
        left = rounding_noise.by_node(quantizer.prepared, spared, "image", TENSORS[:3])

    assert worst not in {noise.node for noise in left}


def test_giving_up_the_worst_node_brings_the_outputs_nearer() -> None:
    """With the worst node in float the variant errs less than with any other one."""

    def error(model: bytes) -> float:
        exact, rounded = Engine(small_model()), Engine(model, optimise=False)
        found = [(exact.run({"image": t})["out"], rounded.run({"image": t})["out"]) for t in TENSORS]
        return float(np.mean([np.square(a - b).mean() for a, b in found]))

    with prepared(small_model(), "image", TENSORS) as quantizer:
        order = rounding_noise.by_node(quantizer.prepared, quantizer.make(VNNI), "image", TENSORS[:3])
        errors = [error(quantizer.make(VNNI, [noise.node])) for noise in order]

    assert errors[0] == min(errors)


def test_noise_is_weighed_by_the_values_that_would_stay_in_float() -> None:
    """Of two nodes the one that brings less noise but moves far fewer values comes first."""
    with prepared(small_model(width=64), "image", TENSORS) as quantizer:
        found = rounding_noise.by_node(quantizer.prepared, quantizer.make(VNNI), "image", TENSORS[:3])

    wide, worst, last = [n.name for n in onnx.load_from_string(small_model()).graph.node if n.op_type == "Conv"]
    moved = {wide: 3 + 64, worst: 64 + 8, last: 8 + 8}
    assert {noise.node: noise.values for noise in found} == {name: n * 16 * 16 for name, n in moved.items()}
    assert [noise.node for noise in found] == [worst, last, wide]
    assert sorted(found, key=lambda noise: -noise.share) != found


def test_sizes_that_are_not_known_rank_nothing() -> None:
    """A model with a free side is refused by the name of its first node, with the cure, before anything is measured."""
    free = onnx.load_from_string(small_model())
    for value in (free.graph.input[0], free.graph.output[0]):
        value.type.tensor_type.shape.dim[2].dim_param = "height"

    with prepared(free.SerializeToString(), "image", TENSORS) as quantizer:
        rounded = quantizer.make(VNNI)
        with pytest.raises(FactoryError, match=f"node {free.graph.node[0].name}: .* in image and in ") as refused:
            rounding_noise.by_node(quantizer.prepared, rounded, "image", [])

    assert "free dimensions" in refused.value.hint
