"""What a task may have to know beside the graph's outputs: the picture they are about, and what counts in it."""

from dataclasses import dataclass

from edge_agent.errors import InferenceError
from edge_agent.inference.geometry import Placement
from edge_protocol.bundle import ImageInput, OperatingPoint
from edge_protocol.codes import Reason


@dataclass(frozen=True, slots=True)
class View:
    """The tensor's contract, where in the source picture it lies, and the operating point with its zones."""

    contract: ImageInput
    placement: Placement
    point: OperatingPoint


def not_finite(what: str) -> InferenceError:
    """A model that answers with what is no number: nothing would be found in it, and it would look like OK."""
    return InferenceError(
        f"{what} of the model are not finite numbers", "see whether the bundle's self-test passes", Reason.ENGINE_FAULT
    )
