"""A legacy PyTorch checkpoint comes in, named numpy arrays go out. Never runs what is pickled in it.

The file is a magic number, a protocol number, a dictionary of sizes, the pickled state, the keys of its storages, and
then each storage as a length and its raw values.
"""

import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from cloud_hub.errors import FactoryError

Weights = dict[str, npt.NDArray[Any]]

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_STORAGES = {"FloatStorage": np.dtype("<f4"), "DoubleStorage": np.dtype("<f8"), "LongStorage": np.dtype("<i8")}


def read_weights(path: Path) -> Weights:
    """The tensors of a checkpoint by name.

    Raises:
        FactoryError: it cannot be read, is of another format, or asks for a name that no tensor needs.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except (OSError, pickle.UnpicklingError, struct.error, EOFError, ValueError, KeyError, TypeError) as error:
        message = f"{path.name} is not a checkpoint that can be read: {error}"
        raise FactoryError(message, "install the package named in pyproject.toml again") from error


class _Storage:
    """The place of a tensor's values, filled after the pickle has been read."""

    def __init__(self, dtype: np.dtype[Any], size: int) -> None:
        self.dtype = dtype
        self.size = size
        self.values = np.empty(0, dtype)


class _Tensor:
    """A view into a storage, in elements."""

    def __init__(self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self) -> npt.NDArray[Any]:
        last = self.offset + sum((size - 1) * step for size, step in zip(self.shape, self.strides, strict=True))
        if not 0 <= self.offset <= last < self.storage.size or min(self.shape, default=1) < 1:
            message = "a tensor reaches beyond its storage"
            raise ValueError(message)
        strides = [step * self.storage.dtype.itemsize for step in self.strides]
        view = np.lib.stride_tricks.as_strided(self.storage.values[self.offset :], self.shape, strides)
        return view.copy()


class _Unpickler(pickle.Unpickler):
    """Admits the three kinds of names that a state of tensors is made of, and nothing else."""

    def __init__(self, file: IO[bytes], storages: dict[str, _Storage]) -> None:
        super().__init__(file)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_gradient: _Tensor(storage, offset, shape, strides)
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        message = f"{module}.{name} is not admitted"
        raise pickle.UnpicklingError(message)

    def persistent_load(self, pid: Any) -> _Storage:
        _kind, dtype, key, _device, size, _view = pid
        return self._storages.setdefault(key, _Storage(dtype, size))


def _read(file: IO[bytes]) -> Weights:
    storages: dict[str, _Storage] = {}

    def load() -> Any:
        return _Unpickler(file, storages).load()

    if load() != _MAGIC or load() != _PROTOCOL:
        message = "another format"
        raise ValueError(message)
    load()  # the sizes of the writer's integers
    state, keys = load(), load()
    for key in keys:
        storage = storages[key]
        (size,) = struct.unpack("<q", file.read(8))
        content = file.read(storage.size * storage.dtype.itemsize)
        if size != storage.size or len(content) != size * storage.dtype.itemsize:
            message = "a storage is cut off"
            raise ValueError(message)
        storage.values = np.frombuffer(content, storage.dtype)
    return {name: tensor.array() for name, tensor in state.items()}
