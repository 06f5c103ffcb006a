import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_agent.clock import FixedClock
from edge_agent.durable import Operation
from edge_agent.inference import cache as room
from edge_agent.inference.cache import Cache, StorePlans, StoreRows
from edge_agent.inference.engine import Engine, Options, cache_key, open_cache
from edge_agent.inference.tuning import Plan
from edge_agent.store import Store
from tests.edge_agent.inference import small_bundles
from tests.edge_agent.inference.small_bundles import SIDE

MODEL = small_bundles.image_graph()
TENSOR = {"image": np.random.default_rng(5).random((1, 3, SIDE, SIDE), np.float32)}


class PowerCut(BaseException):
    """The moment after which nothing more is done."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A gateway's database."""
    opened = Store.open(tmp_path / "lineside.db", quota_bytes=32 * 2**20, clock=FixedClock())
    yield opened
    opened.close()


@pytest.fixture
def cache(tmp_path: Path, store: Store) -> Cache:
    """A gateway's cache."""
    return open_cache(tmp_path / "cache", store)


def cached(cache: Cache) -> Path:
    """The one file of a cache."""
    (path,) = cache.folder.glob("*.opt")
    return path


def is_sound(cache: Cache) -> bool:
    """Whether the one file is what its row says."""
    content = cached(cache).read_bytes()
    return cache.rows.get(cache_key(MODEL, Options())) == hashlib.sha256(content).hexdigest()


def spoiled(model: bytes) -> bytes:
    """The same model with other weights: it loads, and answers otherwise."""
    proto = onnx.load_from_string(model)
    proto.graph.initializer[0].raw_data = bytes(len(proto.graph.initializer[0].raw_data))
    return bytes(proto.SerializeToString())


def test_a_cached_model_answers_as_the_model_does(cache: Cache) -> None:
    """Made just now, found in the cache, or without one: the outputs are the same bits."""
    plain = Engine(MODEL).run(TENSOR)

    made = Engine(MODEL, cache=cache).run(TENSOR)
    found = Engine(MODEL, cache=cache).run(TENSOR)

    for name, value in plain.items():
        assert np.array_equal(made[name], value)
        assert np.array_equal(found[name], value)


def test_the_cache_is_used(cache: Cache) -> None:
    """What loads is what the cache holds: another model with its row under the key is what runs."""
    Engine(MODEL, cache=cache)
    cache.write(cache_key(MODEL, Options()), small_bundles.window_graph())

    assert set(Engine(MODEL, cache=cache).inputs) == {"features"}


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 1000, spoiled(MODEL)])
def test_a_file_that_is_not_what_its_row_says_is_made_again(cache: Cache, damage: bytes) -> None:
    """Whatever lies there instead is never loaded, and is replaced: also a model that would load."""
    Engine(MODEL, cache=cache)
    cached(cache).write_bytes(damage)

    again = Engine(MODEL, cache=cache).run(TENSOR)

    assert np.array_equal(again["score"], Engine(MODEL).run(TENSOR)["score"])
    assert is_sound(cache)


def test_a_file_without_a_row_was_never_made(cache: Cache, tmp_path: Path) -> None:
    """Whoever can write files but not rows cannot have them loaded."""
    cache.folder.mkdir()
    (cache.folder / f"{cache_key(MODEL, Options())}.opt").write_bytes(spoiled(MODEL))

    again = Engine(MODEL, cache=cache).run(TENSOR)

    assert np.array_equal(again["score"], Engine(MODEL).run(TENSOR)["score"])
    assert is_sound(cache)


def test_one_flipped_bit_in_the_cache_is_noticed(cache: Cache) -> None:
    """A weight that changed in the cache is not what runs."""
    Engine(MODEL, cache=cache)
    content = bytearray(cached(cache).read_bytes())
    content[len(content) // 2] ^= 1
    cached(cache).write_bytes(content)

    Engine(MODEL, cache=cache)

    assert is_sound(cache)


def test_a_cut_at_any_durable_step_leaves_nothing_that_is_loaded_unhashed(tmp_path: Path, store: Store) -> None:
    """Before and after each write of file and row: the next start answers as the signed model does, and is sound."""
    expected = Engine(MODEL).run(TENSOR)["score"]
    left = steps = 0

    class CutRows(StoreRows):
        """The database goes too."""

        def __setitem__(self, key: str, sha256: str, /) -> None:
            cut()
            super().__setitem__(key, sha256)
            cut()

    def cut(_operation: Operation | None = None) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise PowerCut

    for steps in range(100):
        left, folder = steps, tmp_path / f"cache-{steps}"
        with store.transaction() as connection:
            connection.execute("DELETE FROM optimised")
        try:
            Engine(MODEL, cache=Cache(folder, CutRows(store), record=cut))
        except PowerCut:
            after = open_cache(folder, store)
            assert np.array_equal(Engine(MODEL, cache=after).run(TENSOR)["score"], expected)
            assert is_sound(after)
        else:
            break

    assert 6 < steps < 20


def test_what_a_child_made_counts_when_its_parent_says_so(cache: Cache) -> None:
    """A process without the database writes the file; the row is its parent's, and then the file is what loads."""
    made: dict[str, str] = {}
    Engine(MODEL, cache=Cache(cache.folder, made))
    inode = cached(cache).stat().st_ino
    assert cache.read(cache_key(MODEL, Options())) is None

    cache.adopt(made)
    Engine(MODEL, cache=cache)

    assert cached(cache).stat().st_ino == inode
    assert is_sound(cache)


def test_another_model_has_another_place_in_the_cache(cache: Cache) -> None:
    """Models do not share a cached file, nor do the sides that were fixed; counts of threads do."""
    Engine(MODEL, cache=cache)
    Engine(small_bundles.window_graph(), cache=cache)
    Engine(MODEL, cache=cache, threads=2)
    Engine(MODEL, cache=cache, dimensions={"batch": 1})

    assert len(list(cache.folder.iterdir())) == 3


def test_the_cache_does_not_grow_for_ever(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest files go when there are more than is kept."""
    monkeypatch.setattr(room, "CACHED_MODELS", 2)
    Engine(MODEL, cache=cache)
    oldest = cached(cache)
    os.utime(oldest, (1, 1))

    Engine(MODEL, cache=cache, dimensions={"batch": 1})
    Engine(small_bundles.window_graph(), cache=cache)

    assert len(list(cache.folder.iterdir())) == 2
    assert not oldest.exists()


def test_a_cache_that_cannot_be_written_hinders_nothing(tmp_path: Path, store: Store) -> None:
    """A model loads and runs where the cache's folder cannot be made, and where the database is gone."""
    blocked = tmp_path / "file"
    blocked.touch()

    assert "score" in Engine(MODEL, cache=open_cache(blocked / "cache", store)).run(TENSOR)

    store.close()
    assert "score" in Engine(MODEL, cache=open_cache(tmp_path / "cache", store)).run(TENSOR)


def test_a_plan_holds_for_the_hardware_it_was_measured_on(store: Store) -> None:
    """It is found again by its bundle, on the same fingerprint only; the next one takes its place."""
    here, there = StorePlans(store, "here"), StorePlans(store, "there")
    here["digest"] = Plan("fp32", 2, False, 1.5)

    assert (here.get("digest"), there.get("digest"), here.get("other")) == (Plan("fp32", 2, False, 1.5), None, None)

    here["digest"] = Plan("fp32")
    assert here.get("digest") == Plan("fp32")


@pytest.mark.parametrize("threads", [0, -1, 1_000_000])
def test_a_plan_that_nobody_measured_is_none(store: Store, threads: int) -> None:
    """A row that was damaged starts no thousand threads: the bundle runs as if nothing had been measured."""
    plans = StorePlans(store, "here")
    plans["digest"] = Plan("fp32", threads)

    assert plans.get("digest") is None
