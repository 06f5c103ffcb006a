from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_agent.errors import InferenceError
from edge_agent.inference import engine as room
from edge_agent.inference.cache import Cache
from edge_agent.inference.engine import Engine
from edge_agent.inference.providers import CPU
from edge_protocol.codes import Reason
from tests.edge_agent.inference import small_bundles
from tests.edge_agent.inference.small_bundles import SIDE

MODEL = small_bundles.image_graph()
TENSOR = {"image": np.random.default_rng(5).random((1, 3, SIDE, SIDE), np.float32)}


def with_external_data() -> bytes:
    """The small model with a weight that lies in another file."""
    model = onnx.load_from_string(MODEL)
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], location="/etc/hostname")
    model.graph.initializer[0].ClearField("raw_data")
    return bytes(model.SerializeToString())


def changed(change: Callable[[onnx.ModelProto], None]) -> bytes:
    """The small model, changed."""
    model = onnx.load_from_string(MODEL)
    change(model)
    return bytes(model.SerializeToString())


def a_custom_operator(model: onnx.ModelProto) -> None:
    """One that somebody else's library would bring."""
    model.graph.node[0].domain = "com.acme"
    model.opset_import.append(onnx.helper.make_opsetid("com.acme", 1))


def a_later_opset(model: onnx.ModelProto) -> None:
    """A version that nobody has published."""
    model.opset_import[0].version = 999


def an_unknown_operator(model: onnx.ModelProto) -> None:
    """One that the standard does not have."""
    model.graph.node[0].op_type = "Levitate"


def test_node_by_node_agrees_with_the_optimised_graph() -> None:
    """Without optimisation the same model gives the same answer, to rounding."""
    exact = Engine(MODEL, optimise=False).run(TENSOR)

    assert np.allclose(exact["map"], Engine(MODEL).run(TENSOR)["map"], atol=1e-6)


@pytest.mark.parametrize("model", [b"", b"not a model", MODEL[: len(MODEL) // 2]], ids=["empty", "text", "truncated"])
def test_what_is_no_model_is_refused(model: bytes, tmp_path: Path) -> None:
    """Bytes that are no model raise NO_MODEL, and leave nothing in the cache."""
    with pytest.raises(InferenceError) as caught:
        Engine(model, cache=Cache(tmp_path, {}))

    assert caught.value.reason is Reason.NO_MODEL
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (a_custom_operator, r"the operator Conv of 'com.acme' is not known here"),
        (a_later_opset, r"opset_import: the model is written in opset 999 of ai.onnx, \d+ is known"),
        (an_unknown_operator, "Levitate"),
    ],
)
@pytest.mark.parametrize("provider", [CPU, "OpenVINOExecutionProvider"])
def test_what_cannot_be_run_here_is_named(change: Callable[[onnx.ModelProto], None], words: str, provider: str) -> None:
    """The operator, or the version of the operators: NO_MODEL with what to do, whoever was to run it."""
    with pytest.raises(InferenceError, match=words) as caught:
        Engine(changed(change), provider=provider)

    assert caught.value.reason is Reason.NO_MODEL
    assert caught.value.hint


def test_sides_that_the_graph_leaves_open_are_those_of_the_options() -> None:
    """A dimension by its name gets its number; what is run has that shape, and no other is taken."""
    graph = onnx.load_from_string(MODEL)
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    graph.graph.output[1].type.tensor_type.shape.dim[0].dim_param = "batch"

    fixed = Engine(graph.SerializeToString(), dimensions={"batch": 1})

    assert fixed.inputs == {"image": ("tensor(float)", (1, 3, SIDE, SIDE))}
    assert set(fixed.results) == {"map", "score"}


def test_a_provider_that_is_not_there_leaves_the_processor_and_a_sentence() -> None:
    """The model runs on the CPU, and the engine says that it does and why: never silently."""
    engine = Engine(MODEL, provider="CUDAExecutionProvider")

    assert engine.provider == CPU
    assert engine.fallback == (
        "CUDAExecutionProvider is not installed: it comes with onnxruntime-gpu, in place of onnxruntime"
    )
    assert np.array_equal(engine.run(TENSOR)["score"], Engine(MODEL).run(TENSOR)["score"])


def test_a_provider_that_takes_no_node_is_not_said_to_run_the_model() -> None:
    """One that is there and does nothing, as the one for the cloud: the CPU does all, and the engine says so."""
    engine = Engine(MODEL, provider="AzureExecutionProvider")

    assert engine.provider == CPU
    assert engine.fallback == "AzureExecutionProvider: it takes none of the model's nodes"
    assert np.array_equal(engine.run(TENSOR)["score"], Engine(MODEL).run(TENSOR)["score"])


def test_a_provider_that_fails_leaves_the_model_to_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its driver raises is in the sentence, and the line goes on."""
    whole = room._session

    def broken(model: bytes, how: room.Options, **more: object) -> object:
        if how.provider != CPU:
            message = "no such device"
            raise RuntimeError(message)
        return whole(model, how, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(room, "_session", broken)

    engine = Engine(MODEL, provider="AzureExecutionProvider")

    assert engine.fallback == "AzureExecutionProvider: it does not take the model: no such device"
    assert "score" in engine.run(TENSOR)


def test_a_device_that_fails_when_it_runs_is_left_before_the_first_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """It took every node and cannot compute: warming up finds it, the CPU takes over, and the engine says why."""
    run = Engine.run

    def broken(engine: Engine, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if engine.provider != CPU:
            message = "the model failed: out of memory on the device"
            raise InferenceError(message, "", Reason.ENGINE_FAULT)
        return run(engine, tensors)

    monkeypatch.setattr(room, "_taken", lambda _session, _name: (7, 7))
    monkeypatch.setattr(Engine, "run", broken)
    engine = Engine(MODEL, provider="AzureExecutionProvider")
    assert engine.fallback == ""

    engine.warm_up(TENSOR)

    assert engine.fallback == "AzureExecutionProvider: the model failed: out of memory on the device"
    assert (engine.provider, engine.options.provider) == (CPU, CPU)
    assert "score" in engine.run(TENSOR)


def without_a_kernel() -> bytes:
    """A model of an operator that the CPU does not compute in these numbers."""
    node = onnx.helper.make_node("Relu", ["image"], ["score"])
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT16, [1]) for name in ("image", "score")]
    graph = onnx.helper.make_graph([node], "relu", ends[:1], ends[1:])
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    return bytes(made.SerializeToString())


def test_what_fails_on_a_device_and_on_the_processor_is_one_of_our_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the device has the kernel, and it fails: who loads hears no exception of the driver's, and why."""
    monkeypatch.setattr(room, "_taken", lambda _session, _name: (7, 7))
    engine = Engine(MODEL, provider="AzureExecutionProvider")
    engine._spare = without_a_kernel()

    with pytest.raises(InferenceError, match=r"the model cannot be loaded: .*Relu") as raised:
        engine.warm_up({})

    assert raised.value.reason is Reason.NO_MODEL


@pytest.mark.parametrize("provider", [CPU, "AzureExecutionProvider"])
def test_a_warm_engine_keeps_no_copy_of_its_model(monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    """The signed bytes are there for a way back to the CPU, as long as there may be one: until it is warm."""
    monkeypatch.setattr(room, "_taken", lambda _session, _name: (7, 7))
    engine = Engine(MODEL, provider=provider)
    before = len(engine._spare)

    engine.warm_up(TENSOR)

    assert (before, engine._spare) == (0 if provider == CPU else len(MODEL), b"")


@pytest.mark.parametrize(("taken", "runs_on"), [(0, CPU), (5, "AzureExecutionProvider")])
def test_what_a_device_leaves_to_the_processor_has_its_own_cure(
    monkeypatch: pytest.MonkeyPatch, taken: int, runs_on: str
) -> None:
    """One that takes no node does not run it; one that takes some does, and nothing has to be installed for either."""
    monkeypatch.setattr(room, "_taken", lambda _session, _name: (taken, 7))

    engine = Engine(MODEL, provider="AzureExecutionProvider")

    assert (engine.provider, bool(engine.fallback)) == (runs_on, True)
    assert engine.lack is not None
    assert "install" not in engine.lack.cure
    assert ("tune" in engine.lack.cure) == (runs_on != CPU)


def test_the_provider_that_was_asked_for_needs_no_words() -> None:
    """On the CPU as asked there is nothing to say."""
    assert (Engine(MODEL).provider, Engine(MODEL).fallback) == (CPU, "")


def test_a_session_has_the_threads_and_the_arena_of_its_options() -> None:
    """What was chosen is what ONNX Runtime was told; spinning is off, whatever was chosen."""
    options = Engine(MODEL, threads=2, arena=False)._session.get_session_options()

    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    assert options.enable_cpu_mem_arena is False
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_model_that_reads_other_files_is_refused() -> None:
    """External data would let a bundle read what it does not name."""
    with pytest.raises(InferenceError, match="files beside it") as caught:
        Engine(with_external_data())

    assert caught.value.reason is Reason.NO_MODEL


def test_a_run_that_fails_is_an_engine_fault() -> None:
    """A tensor that the graph does not take raises ENGINE_FAULT, and the engine goes on."""
    loaded = Engine(MODEL)

    with pytest.raises(InferenceError) as caught:
        loaded.run({"image": np.zeros((1, 3, 5, 5), np.float32)})

    assert caught.value.reason is Reason.ENGINE_FAULT
    assert "score" in loaded.run(TENSOR)


def test_the_small_model_is_what_it_says() -> None:
    """The model that these tests run has the weights that its outputs can be worked out from."""
    weights = {w.name: numpy_helper.to_array(w) for w in onnx.load_from_string(MODEL).graph.initializer}

    outputs = Engine(MODEL).run(TENSOR)

    tiles = np.abs(TENSOR["image"].mean(axis=1) - weights["middle"]).reshape(4, 8, 4, 8).mean(axis=(1, 3))
    assert np.allclose(outputs["map"][0], tiles, atol=1e-6)
    assert np.isclose(outputs["score"][0], tiles.max(), atol=1e-6)
