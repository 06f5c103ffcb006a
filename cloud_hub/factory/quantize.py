"""A float model and calibration tensors come in, its int8 variants go out, as ONNX Runtime runs them in integers.

On x86 activations are unsigned and weights signed: the library's default of signed both leaves half of the convolutions
in float there. Without VNNI the weights have seven bits, or the processor's 16-bit sums overflow.
"""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from edge_protocol.bundle import Variant


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How a variant computes, and which gateways it is for."""

    variant: Variant
    activations: QuantType
    reduce_range: bool


ARITHMETICS = (
    Arithmetic(
        Variant(name="u8s8-vnni", file="u8s8-vnni.onnx", arch=("x86_64",), cpu_flags=("avx512_vnni", "avx_vnni")),
        QuantType.QUInt8,
        reduce_range=False,
    ),
    Arithmetic(
        Variant(name="u8s8-7bit", file="u8s8-7bit.onnx", arch=("x86_64",)),
        QuantType.QUInt8,
        reduce_range=True,
    ),
    Arithmetic(
        Variant(name="s8s8-arm", file="s8s8-arm.onnx", arch=("aarch64",)),
        QuantType.QInt8,
        reduce_range=False,
    ),
)


def quantize(model: bytes, tensor: str, calibration: Sequence[npt.NDArray[Any]]) -> dict[str, bytes]:
    """The int8 variants by name; `calibration` are tensors of good parts as the production preprocessor makes them."""
    with tempfile.TemporaryDirectory(prefix="lineside-") as name:
        folder = Path(name)
        (folder / "source.onnx").write_bytes(model)
        # Its own optimiser writes weights beside the model and cannot read them back; ours has nothing left to fold.
        quant_pre_process(
            str(folder / "source.onnx"), str(folder / "prepared.onnx"), skip_symbolic_shape=True, skip_optimization=True
        )
        return {a.variant.name: _quantize(folder, a, _Calibration(tensor, calibration)) for a in ARITHMETICS}


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Hands out the tensors one by one, as the library asks for them."""

    def __init__(self, tensor: str, values: Iterable[npt.NDArray[Any]]) -> None:
        self._tensor = tensor
        self._values = iter(values)

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        value = next(self._values, None)
        return None if value is None else {self._tensor: value}


def _quantize(folder: Path, arithmetic: Arithmetic, data: _Calibration) -> bytes:
    target = folder / arithmetic.variant.file
    quantize_static(
        str(folder / "prepared.onnx"),
        str(target),
        data,
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=arithmetic.reduce_range,
        activation_type=arithmetic.activations,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        calibration_cache_path=str(folder / "ranges.json"),  # the ranges are those of the floats: measured once
    )
    return target.read_bytes()
