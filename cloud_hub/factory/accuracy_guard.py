"""An int8 variant that judges otherwise than its float model stays here: nodes go back to float until it does as well.

Compared are scores of labelled parts that nothing was fitted on and no figure is told of. What is left in float is
chosen by the noise that each node's rounding brings.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from cloud_hub.errors import FactoryError
from cloud_hub.factory.evaluate import Scores, auroc
from edge_protocol.bundle import OperatingPoint

MAX_LOSS = 0.005
MIN_AGREEMENT = 0.99
MIN_RANK = 0.97
STEPS = (0, 4, 12, 24, 48)
"""How many nodes are left in float, one attempt after the other."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What rounding changed: AUROC lost, share of parts that both let pass or both stop, correlation of the ranks.

    REVIEW and NG stop a part alike. Between them lies a narrow band, in which the rounding of any arithmetic decides.
    """

    loss: float
    agreement: float
    rank: float

    @property
    def holds(self) -> bool:
        """Whether the variant may stand for its float model."""
        return self.loss <= MAX_LOSS and self.agreement >= MIN_AGREEMENT and self.rank >= MIN_RANK

    def __str__(self) -> str:
        return f"AUROC lost {self.loss:.4f}, same verdict {self.agreement:.3f}, rank {self.rank:.3f}"


@dataclass(frozen=True, slots=True)
class Guarded:
    """A variant that holds, the nodes that it computes in float, and what it came to before and after."""

    model: bytes
    in_float: tuple[str, ...]
    before: Comparison
    after: Comparison


class NotHeld(FactoryError):
    """No attempt judges as the float model does. `attempts` are what each came to, by the number of nodes in float."""

    def __init__(self, name: str, attempts: Mapping[int, Comparison]) -> None:
        message = f"{name} does not judge as its float model does: {list(attempts.values())[-1]}"
        super().__init__(message, "leave this variant out, or calibrate with more and other parts")
        self.attempts = attempts


def compare(exact: Scores, rounded: Scores, is_bad: npt.NDArray[np.bool_], point: OperatingPoint) -> Comparison:
    """The scores of the float model against those of a variant on the same parts, of which `is_bad` are defective."""
    loss = auroc(exact[~is_bad], exact[is_bad]) - auroc(rounded[~is_bad], rounded[is_bad])
    same = (exact < point.accept) == (rounded < point.accept)
    return Comparison(float(loss), float(same.mean()), float(spearmanr(exact, rounded).statistic))


def search(
    make: Callable[[Sequence[str]], bytes],
    judge: Callable[[bytes], Comparison],
    worst_first: Callable[[], Sequence[str]],
    name: str,
) -> Guarded:
    """The variant with the fewest nodes in float that holds, of those attempted.

    `make` builds it with some nodes left in float, `judge` compares it, `worst_first` names the nodes to give up and is
    asked only when some must be.

    Raises:
        NotHeld: none holds.
    """
    attempts: dict[int, Comparison] = {}
    order: Sequence[str] = ()
    for count in STEPS:
        if count and not order:
            order = worst_first()
        in_float = tuple(order[:count])
        model = make(in_float)
        attempts[len(in_float)] = after = judge(model)
        if after.holds:
            return Guarded(model, in_float, attempts[0], after)
        if count >= len(order) > 0:
            break
    raise NotHeld(name, attempts)
