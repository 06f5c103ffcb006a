"""What a graph is fed beside the sample: constants, and states that an output carries to the next sample."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.errors import InferenceError
from edge_protocol.bundle import Manifest
from edge_protocol.codes import Reason

Array = npt.NDArray[Any]


class Feed:
    """The inputs of a graph, of which one is the sample's tensor. Belongs to the thread that runs the model."""

    def __init__(self, manifest: Manifest) -> None:
        self._tensor = manifest.input.tensor
        self._states = {state.input: state for state in manifest.states}
        self.constants: dict[str, Array] = {
            constant.input: np.broadcast_to(
                np.array(constant.values, constant.dtype).reshape(constant.shape if len(constant.values) > 1 else ()),
                constant.shape,
            ).copy()
            for constant in manifest.constants
        }
        self.zeros: dict[str, Array] = {state.input: np.zeros(state.shape, state.dtype) for state in manifest.states}
        self._kept = dict(self.zeros)

    def alone(self, tensor: Array) -> dict[str, Array]:
        """What to run for a tensor without a past."""
        return {self._tensor: tensor, **self.constants, **self.zeros}

    def next(self, tensor: Array) -> dict[str, Array]:
        """What to run for the tensor that follows the last one."""
        return {self._tensor: tensor, **self.constants, **self._kept}

    def keep(self, outputs: Mapping[str, Array]) -> None:
        """Carry the states that came out to the next run.

        Raises:
            InferenceError: ENGINE_FAULT: a state of another shape than the manifest says; the next begins with zeros.
        """
        for name, state in self._states.items():
            value = outputs[state.output]
            if value.shape != state.shape or value.dtype != state.dtype:
                self.forget()
                message = f"state {state.output} is {value.dtype}{list(value.shape)}, the manifest says "
                message += f"{state.dtype}{list(state.shape)}"
                raise InferenceError(
                    message, "set states[].shape and dtype as the graph gives them", Reason.ENGINE_FAULT
                )
            self._kept[name] = value

    def forget(self) -> None:
        """Begin again with zeros."""
        self._kept = dict(self.zeros)
