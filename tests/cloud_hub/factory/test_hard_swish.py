import numpy as np
import onnx
import pytest

from cloud_hub.factory import hard_swish
from cloud_hub.factory.graph import Graph
from edge_agent.inference.engine import Engine

SIDES = (1, 2, 5, 7)
VALUES = np.linspace(-8, 8, int(np.prod(SIDES)), dtype=np.float32).reshape(SIDES)
HALF_SIXTH = float(np.float16(1 / 6))


def number(value: float) -> np.ndarray:
    """A constant of one number."""
    return np.full((1, 1, 1, 1), value, np.float32)


def written_out(shift: float = 3, top: float = 6, sixth: float = 1 / 6, *, is_read: bool = False) -> bytes:
    """A hard swish in four nodes, between two that are not part of it; `is_read`: its middle is an output too."""
    graph = Graph("swish")
    value = graph.node("Neg", "x")
    clip = graph.node("Add", value, number(shift))
    clip = graph.node("Clip", clip, np.array(0, np.float32), np.array(top, np.float32))
    product = graph.node("Mul", graph.node("Mul", number(sixth), value), clip)
    graph.node("Neg", product, output="y")
    return graph.model({"x": SIDES}, {"y": SIDES, **({clip: SIDES} if is_read else {})})


def kinds(model: bytes) -> list[str]:
    """The operators of a model, in order."""
    return [node.op_type for node in onnx.load_from_string(model).graph.node]


def test_two_nodes_say_what_four_did() -> None:
    """The numbers are those of the graph as it was, from where nothing passes to where all does."""
    model = written_out()

    fused = hard_swish.fuse(model)

    assert kinds(fused) == ["Neg", "HardSigmoid", "Mul", "Neg"]
    wanted, found = (Engine(each).run({"x": VALUES})["y"] for each in (model, fused))
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_a_sixth_of_sixteen_bits_is_kept_below_three() -> None:
    """Below 3 it is the stored number that counts; above, all passes where the original kept 2.4e-4 of it back."""
    model = written_out(sixth=HALF_SIXTH)

    wanted, found = (Engine(each).run({"x": -VALUES})["y"] for each in (model, hard_swish.fuse(model)))

    below = VALUES < 3
    np.testing.assert_allclose(found[below], wanted[below], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found[~below], wanted[~below], rtol=2.5e-4)


@pytest.mark.parametrize(
    "model",
    [
        written_out(shift=2.5),
        written_out(top=5),
        written_out(sixth=1 / 5),
        written_out(is_read=True),
    ],
    ids=["another shift", "another limit", "another scale", "its middle is read"],
)
def test_what_is_no_hard_swish_stays(model: bytes) -> None:
    """Only what means the same is put in another's place."""
    assert kinds(hard_swish.fuse(model)) == kinds(model)
    assert (
        Engine(hard_swish.fuse(model)).run({"x": VALUES})["y"].tobytes()
        == Engine(model).run({"x": VALUES})["y"].tobytes()
    )


def test_weights_that_nothing_reads_any_more_are_gone() -> None:
    """What is shipped is what is computed."""
    fused = onnx.load_from_string(hard_swish.fuse(written_out())).graph

    assert not fused.initializer
