"""An optimised model comes in, how much of it computes in integers goes out; and whether two variants rank parts alike.

What calls itself int8 is not always: a runtime keeps in float whatever it has no integer kernel for, and says nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_agent.inference import graph

ENOUGH = 0.9
"""Share of integer nodes below which somebody should know."""

LEAST_RANK = 0.9
"""Rank correlation of scores below which a variant sorts parts otherwise than the floats do."""

FEWEST_SCORES = 4
"""With less the ranks say nothing."""

INTEGER = frozenset(
    (
        "QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "ConvIntegerToFloat", "MatMulInteger",
        "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QAttention",
    )
)  # fmt: skip
FLOAT = frozenset(
    (
        "Conv", "FusedConv", "NhwcFusedConv", "ConvTranspose", "MatMul", "FusedMatMul", "TransposeMatMul", "Gemm",
        "FusedGemm", "Attention", "MultiHeadAttention", "LSTM", "GRU", "RNN",
    )
)  # fmt: skip
"""The nodes that a network spends its time in; whatever else there is, moves and rescales values."""


@dataclass(frozen=True, slots=True)
class Audit:
    """Compute nodes of an optimised model: how many there are, how many are integer, which are not."""

    integer: int
    compute: int
    floats: tuple[str, ...]

    @property
    def share(self) -> float:
        """Of the compute nodes, those in integers; all of none."""
        return self.integer / self.compute if self.compute else 1.0

    @property
    def warning(self) -> str:
        """What an operator should know of a variant that is said to be int8; nothing when all is well."""
        if self.share >= ENOUGH:
            return ""
        kept = f"{', '.join(self.floats[:5])}{' and more' if self.floats[5:] else ''}"
        return f"{self.integer} of {self.compute} compute nodes run in integers; in float: {kept}"


def audit(optimised: bytes) -> Audit:
    """Look at a model as it runs here, which is as ONNX Runtime has optimised it.

    Raises:
        InferenceError: NO_MODEL: not the bytes of a model.
    """
    nodes = graph.read(optimised).nodes
    integer = sum(node.op in INTEGER for node in nodes)
    floats = tuple(node.name or node.op for node in nodes if node.op in FLOAT)
    return Audit(integer, integer + len(floats), floats)


def rank_correlation(ones: Sequence[float], others: Sequence[float]) -> float:
    """Spearman's: 1 where both sort alike; 1 too where one of them has nothing to sort."""
    first, second = _ranks(ones), _ranks(others)
    if first.std() == 0 or second.std() == 0:
        return 1.0
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """The places of values in their order; equal ones share the middle of theirs."""
    array = np.asarray(values, np.float64)
    return np.array([((array < value).sum() + (array <= value).sum() - 1) / 2 for value in array])
