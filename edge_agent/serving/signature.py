"""A loaded model comes in, what the inference protocol says of it goes out: names, datatypes and shapes, all fixed."""

import numpy as np

from edge_agent.inference.model import Model
from edge_agent.serving.oip import Array, Signature, Tensor

_KINDS = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
}


def signature_of(model: Model) -> Signature:
    """What a model takes and gives. Its states and constants may be left out: zeros, and the manifest's values."""
    defaults = _defaults(model)
    shapes = {name: array.shape for name, array in defaults.items()}
    shapes[model.preprocessor.tensor_name] = model.new_tensor().shape
    inputs = {
        name: Tensor(name, _KINDS[kind], shapes.get(name, _fixed(shape)))
        for name, (kind, shape) in model.engine.inputs.items()
    }
    # What is no tensor of numbers, as a class's name, cannot be asked for.
    outputs = {
        name: Tensor(name, _KINDS[kind], _fixed(shape))
        for name, (kind, shape) in model.engine.results.items()
        if kind in _KINDS
    }
    return Signature(inputs, outputs, defaults)


def _defaults(model: Model) -> dict[str, Array]:
    manifest = model.manifest
    states: dict[str, Array] = {each.input: np.zeros(each.shape, each.dtype) for each in manifest.states}
    constants: dict[str, Array] = {
        each.input: np.array(each.values, each.dtype).reshape(each.shape) for each in manifest.constants
    }
    return states | constants


def _fixed(shape: tuple[int | str | None, ...]) -> tuple[int, ...]:
    return tuple(n if isinstance(n, int) else -1 for n in shape)
