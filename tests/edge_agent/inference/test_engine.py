import hashlib
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_agent.errors import InferenceError
from edge_agent.inference import engine
from edge_agent.inference.engine import Engine, choose_variant
from edge_protocol.bundle import Variant
from edge_protocol.codes import Reason
from tests.edge_agent.inference import small_bundles
from tests.edge_agent.inference.small_bundles import SIDE

MODEL = small_bundles.image_graph()
TENSOR = {"image": np.random.default_rng(5).random((1, 3, SIDE, SIDE), np.float32)}

VNNI = Variant(name="u8s8-vnni", file="a", arch=("x86_64",), cpu_flags=("avx512_vnni", "avx_vnni"))
SEVEN_BIT = Variant(name="u8s8-7bit", file="b", arch=("x86_64",))
ARM = Variant(name="s8s8-arm", file="c", arch=("aarch64",))
FLOAT = Variant(name="fp32", file="d")


def cached(cache: Path) -> Path:
    """The one file of a cache."""
    (path,) = cache.iterdir()
    return path


def with_external_data() -> bytes:
    """The small model with a weight that lies in another file."""
    model = onnx.load_from_string(MODEL)
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], location="/etc/hostname")
    model.graph.initializer[0].ClearField("raw_data")
    return model.SerializeToString()


def test_a_cached_model_answers_as_the_model_does(tmp_path: Path) -> None:
    """Made just now, found in the cache, or without one: the outputs are the same bits."""
    plain = Engine(MODEL).run(TENSOR)

    made = Engine(MODEL, cache=tmp_path).run(TENSOR)
    found = Engine(MODEL, cache=tmp_path).run(TENSOR)

    for name, value in plain.items():
        assert np.array_equal(made[name], value)
        assert np.array_equal(found[name], value)


def test_the_cache_is_used(tmp_path: Path) -> None:
    """What loads is what the cache holds: another model with a right digest under the key is what runs."""
    Engine(MODEL, cache=tmp_path)
    other = small_bundles.window_graph()
    cached(tmp_path).write_bytes(hashlib.sha256(other).digest() + other)

    assert set(Engine(MODEL, cache=tmp_path).inputs) == {"features"}


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 1000])
def test_a_damaged_cache_is_made_again(tmp_path: Path, damage: bytes) -> None:
    """A cached file that does not match its own digest is never loaded, and is replaced."""
    Engine(MODEL, cache=tmp_path)
    path = cached(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(damage)

    again = Engine(MODEL, cache=tmp_path).run(TENSOR)

    assert np.array_equal(again["score"], Engine(MODEL).run(TENSOR)["score"])
    content = path.read_bytes()
    assert content[:32] == hashlib.sha256(content[32:]).digest()
    assert len(content) == len(whole)


def test_one_flipped_bit_in_the_cache_is_noticed(tmp_path: Path) -> None:
    """A weight that changed in the cache is not what runs."""
    Engine(MODEL, cache=tmp_path)
    content = bytearray(cached(tmp_path).read_bytes())
    content[len(content) // 2] ^= 1
    cached(tmp_path).write_bytes(content)

    Engine(MODEL, cache=tmp_path)

    content = cached(tmp_path).read_bytes()
    assert content[:32] == hashlib.sha256(content[32:]).digest()


def test_another_model_has_another_place_in_the_cache(tmp_path: Path) -> None:
    """Models do not share a cached file, nor do counts of threads."""
    Engine(MODEL, cache=tmp_path)
    Engine(small_bundles.window_graph(), cache=tmp_path)
    Engine(MODEL, cache=tmp_path, threads=2)

    assert len(list(tmp_path.iterdir())) == 3


def test_the_cache_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest files go when there are more than is kept."""
    monkeypatch.setattr(engine, "CACHED_MODELS", 2)
    Engine(MODEL, cache=tmp_path)
    oldest = cached(tmp_path)
    os.utime(oldest, (1, 1))

    Engine(MODEL, cache=tmp_path, threads=2)
    Engine(small_bundles.window_graph(), cache=tmp_path)

    assert len(list(tmp_path.iterdir())) == 2
    assert not oldest.exists()


def test_a_cache_that_cannot_be_written_hinders_nothing(tmp_path: Path) -> None:
    """A model loads and runs where the cache's folder cannot be made."""
    blocked = tmp_path / "file"
    blocked.touch()

    assert "score" in Engine(MODEL, cache=blocked / "cache").run(TENSOR)


def test_node_by_node_agrees_with_the_optimised_graph() -> None:
    """Without optimisation the same model gives the same answer, to rounding."""
    exact = Engine(MODEL, optimise=False).run(TENSOR)

    assert np.allclose(exact["map"], Engine(MODEL).run(TENSOR)["map"], atol=1e-6)


@pytest.mark.parametrize("model", [b"", b"not a model", MODEL[: len(MODEL) // 2]], ids=["empty", "text", "truncated"])
def test_what_is_no_model_is_refused(model: bytes, tmp_path: Path) -> None:
    """Bytes that are no model raise NO_MODEL, and leave nothing in the cache."""
    with pytest.raises(InferenceError) as caught:
        Engine(model, cache=tmp_path)

    assert caught.value.reason is Reason.NO_MODEL
    assert not list(tmp_path.iterdir())


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


@pytest.mark.parametrize(
    ("arch", "flags", "chosen"),
    [
        ("x86_64", {"avx2", "avx512_vnni"}, "u8s8-vnni"),
        ("x86_64", {"avx2", "avx_vnni"}, "u8s8-vnni"),
        ("x86_64", {"avx2"}, "u8s8-7bit"),
        ("x86_64", set(), "u8s8-7bit"),
        ("aarch64", {"asimd", "asimddp"}, "s8s8-arm"),
        ("riscv64", set(), "fp32"),
    ],
)
def test_the_variant_fits_the_processor(arch: str, flags: set[str], chosen: str) -> None:
    """By architecture and flags, whatever the order in the manifest; anything else gets single precision."""
    for variants in ((VNNI, SEVEN_BIT, ARM, FLOAT), (FLOAT, ARM, SEVEN_BIT, VNNI)):
        manifest = small_bundles.image_manifest(variants=variants)
        assert choose_variant(manifest, frozenset(flags), arch).name == chosen


def test_a_bundle_without_a_variant_for_this_processor_is_refused() -> None:
    """Where nothing fits, the error names what the bundle has."""
    manifest = small_bundles.image_manifest(variants=(ARM,))

    with pytest.raises(InferenceError) as caught:
        choose_variant(manifest, frozenset(), "x86_64")

    assert caught.value.reason is Reason.NO_MODEL
    assert "s8s8-arm" in caught.value.hint


def test_the_small_model_is_what_it_says() -> None:
    """The model that these tests run has the weights that its outputs can be worked out from."""
    weights = {w.name: numpy_helper.to_array(w) for w in onnx.load_from_string(MODEL).graph.initializer}

    outputs = Engine(MODEL).run(TENSOR)

    tiles = np.abs(TENSOR["image"].mean(axis=1) - weights["middle"]).reshape(4, 8, 4, 8).mean(axis=(1, 3))
    assert np.allclose(outputs["map"][0], tiles, atol=1e-6)
    assert np.isclose(outputs["score"][0], tiles.max(), atol=1e-6)
