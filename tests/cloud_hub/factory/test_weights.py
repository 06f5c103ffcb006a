import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from cloud_hub.errors import FactoryError
from cloud_hub.factory import efficientnet
from cloud_hub.factory.weights import read_weights

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
VALUES = np.arange(6, dtype="<f4")


class Name:
    """Pickles as the global `module.name`, which need not exist here."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Called:
    """Pickles as a call of a global."""

    def __init__(self, function: Name, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments


class Stored:
    """Pickles as a storage of the checkpoint."""

    def __init__(self, key: str, size: int, kind: str = "FloatStorage") -> None:
        self.pid = ("storage", Name("torch", kind), key, "cpu", size, None)


class Writer(pickle._Pickler):
    """Writes what PyTorch would, without PyTorch."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def persistent_id(self, obj: Any) -> Any:
        return obj.pid if isinstance(obj, Stored) else None

    def save_name(self, obj: Name) -> None:
        self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())

    def save_called(self, obj: Called) -> None:
        self.save(obj.function)
        self.save(obj.arguments)
        self.write(pickle.REDUCE)

    dispatch[Name] = save_name
    dispatch[Called] = save_called


def tensor(key: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], size: int = 6) -> Called:
    """A tensor that looks at a storage."""
    rebuild = Name("torch._utils", "_rebuild_tensor_v2")
    return Called(rebuild, Stored(key, size), offset, shape, strides, False, OrderedDict())


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a checkpoint of a state and the storages after it."""

    def write(state: Any, storages: dict[str, np.ndarray], magic: int = MAGIC) -> Path:
        path = tmp_path / "weights.pth"
        with path.open("wb") as file:
            for part in (magic, PROTOCOL, {"little_endian": True}):
                pickle.dump(part, file, protocol=2)
            Writer(file, 2).dump(state)
            pickle.dump(list(storages), file, protocol=2)
            for values in storages.values():
                file.write(struct.pack("<q", values.size) + values.tobytes())
        return path

    return write


def test_tensors_are_views_of_their_storages(write: Callable[..., Path]) -> None:
    """Offset, shape and strides are counted in elements, and two tensors may share a storage."""
    state = OrderedDict(a=tensor("0", 0, (2, 3), (3, 1)), b=tensor("0", 1, (3, 2), (1, 3), 6), c=tensor("0", 5, (), ()))
    state["b"] = tensor("0", 0, (3, 2), (1, 3))

    weights = read_weights(write(state, {"0": VALUES}))

    assert np.array_equal(weights["a"], VALUES.reshape(2, 3))
    assert np.array_equal(weights["b"], VALUES.reshape(2, 3).T)
    assert weights["c"] == 5


def test_nothing_that_is_pickled_is_run(write: Callable[..., Path], tmp_path: Path) -> None:
    """A checkpoint that calls a function is refused, and the function is not called."""
    proof = tmp_path / "run"
    for module, name in (("os", "system"), ("posix", "system"), ("builtins", "eval"), ("torch", "load")):
        state = OrderedDict(a=Called(Name(module, name), f"touch {proof}"))
        with pytest.raises(FactoryError, match="not admitted"):
            read_weights(write(state, {}))

    assert not proof.exists()


@pytest.mark.parametrize(
    "bad",
    [
        tensor("0", 0, (2, 4), (4, 1)),
        tensor("0", 6, (1,), (1,)),
        tensor("0", -1, (2,), (1,)),
        tensor("0", 5, (3,), (-1000,)),
        tensor("0", 0, (0,), (1,)),
        tensor("1", 0, (1,), (1,)),
    ],
    ids=["larger", "behind", "before", "backwards", "empty", "unfilled"],
)
def test_a_tensor_beyond_its_storage_is_refused(write: Callable[..., Path], bad: Called) -> None:
    """No shape or stride reads memory that is not the storage's."""
    with pytest.raises(FactoryError):
        read_weights(write(OrderedDict(a=bad), {"0": VALUES}))


def test_what_is_no_checkpoint_is_refused(write: Callable[..., Path], tmp_path: Path) -> None:
    """Missing, empty, text, of another format, or cut off: one error with a cure."""
    whole = write(OrderedDict(a=tensor("0", 0, (6,), (1,))), {"0": VALUES})
    contents = [b"", b"weights", whole.read_bytes()[:-4]]
    paths = [tmp_path / "absent", write(OrderedDict(), {}, magic=7)]
    paths[1] = paths[1].rename(tmp_path / "other")
    for n, content in enumerate(contents):
        paths.append(tmp_path / str(n))
        paths[-1].write_bytes(content)

    for path in paths:
        with pytest.raises(FactoryError) as caught:
            read_weights(path)
        assert caught.value.hint


def test_the_backbones_weights_are_the_ones_that_are_meant() -> None:
    """The installed file reads whole, and its name begins with its digest as its makers gave it."""
    path = efficientnet.weights_file()

    weights = read_weights(path)

    assert os.path.splitext(path.name)[0].endswith("57934424")  # noqa: PTH122
    assert weights["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert weights["_fc.weight"].shape == (1000, 1280)
    assert all(np.isfinite(value).all() for value in weights.values())
