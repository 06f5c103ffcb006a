"""A float model and calibration tensors come in, its int8 variants go out, as ONNX Runtime runs them in integers.

On x86 activations are unsigned and weights signed: the library's default of signed both leaves half of the convolutions
in float there. Without VNNI weights have seven bits where two products are summed in sixteen; a depthwise convolution
sums in thirty-two and keeps all eight.
"""

import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from edge_agent.inference.preprocess import make_preprocessor
from edge_protocol.bundle import ImageInput, Variant


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


def variants(names: Collection[str]) -> tuple[Variant, ...]:
    """A bundle's variants: single precision, and those of the arithmetics that are named."""
    return (
        Variant(name="fp32", file="fp32.onnx"),
        *(each.variant for each in ARITHMETICS if each.variant.name in names),
    )


class Quantizer:
    """A model made ready to be quantized. Ranges are measured once: they are those of the floats."""

    def __init__(
        self,
        folder: Path,
        model: bytes,
        tensor: str,
        calibration: Sequence[npt.NDArray[Any]],
        kinds: Collection[str] = (),
    ) -> None:
        self._folder = folder
        self._kinds = sorted(kinds) or None
        self._tensor = tensor
        self._calibration = calibration
        (folder / "source.onnx").write_bytes(model)
        # Its own optimiser writes weights beside the model and cannot read them back; ours has nothing left to fold.
        quant_pre_process(
            str(folder / "source.onnx"), str(folder / "prepared.onnx"), skip_symbolic_shape=True, skip_optimization=True
        )
        self.prepared = (folder / "prepared.onnx").read_bytes()
        graph = onnx.load_from_string(self.prepared).graph
        self._depthwise = [node.input[1] for node in graph.node if _is_depthwise(node)]

    def make(self, arithmetic: Arithmetic, in_float: Collection[str] = ()) -> bytes:
        """The variant of one arithmetic, the nodes named `in_float` left as they are."""
        target = self._folder / arithmetic.variant.file
        whole = {"axis": 0, "quant_type": QuantType.QInt8, "symmetric": True, "reduce_range": False}
        quantize_static(
            str(self._folder / "prepared.onnx"),
            str(target),
            _Calibration(self._tensor, self._calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=arithmetic.reduce_range,
            activation_type=arithmetic.activations,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            calibration_cache_path=str(self._folder / "ranges.json"),
            op_types_to_quantize=self._kinds,
            nodes_to_exclude=sorted(in_float),
            extra_options={"TensorQuantOverrides": {name: [whole] for name in self._depthwise}},
        )
        return target.read_bytes()


def tensors_of(contract: ImageInput, pictures: Iterable[npt.NDArray[np.uint8]]) -> list[npt.NDArray[Any]]:
    """Pictures as the line would give them to the engine: what a variant is calibrated with, and compared on."""
    preprocessor, tensors = make_preprocessor(contract), []
    for picture in pictures:
        tensors.append(preprocessor.new_tensor())
        preprocessor.write(picture, tensors[-1])
    return tensors


@contextmanager
def prepared(
    model: bytes, tensor: str, calibration: Sequence[npt.NDArray[Any]], kinds: Collection[str] = ()
) -> Iterator[Quantizer]:
    """A quantizer of `model`; `calibration` are tensors of good parts.

    `kinds` are the operators that are computed in integers, all that can be unless they are named.
    """
    with tempfile.TemporaryDirectory(prefix="lineside-") as name:
        yield Quantizer(Path(name), model, tensor, calibration, kinds)


def quantize(model: bytes, tensor: str, calibration: Sequence[npt.NDArray[Any]]) -> dict[str, bytes]:
    """All int8 variants by name, with every node in integers that can be."""
    with prepared(model, tensor, calibration) as quantizer:
        return {arithmetic.variant.name: quantizer.make(arithmetic) for arithmetic in ARITHMETICS}


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Hands out the tensors one by one, as the library asks for them."""

    def __init__(self, tensor: str, values: Iterable[npt.NDArray[Any]]) -> None:
        self._tensor = tensor
        self._values = iter(values)

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        value = next(self._values, None)
        return None if value is None else {self._tensor: value}


def _is_depthwise(node: onnx.NodeProto) -> bool:
    return node.op_type == "Conv" and any(each.name == "group" and each.i > 1 for each in node.attribute)
