"""A loaded model with the tensors that are shaped for it: a sample comes in, a filled tensor or a reason goes out.

Everything of the size of a picture is kept from part to part, but for what a JPEG is decoded to. It belongs
to the thread that admits, but for `decider` and the state of the model: those are the judging thread's.
"""

import logging
import queue
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy.typing as npt

from edge_agent.errors import InferenceError
from edge_agent.inference.decision import Decider
from edge_agent.inference.geometry import Placement
from edge_agent.inference.model import Model
from edge_agent.inference.signals import Sampler
from edge_agent.sample import Channel, Look, Sample
from edge_agent.settings.pipelines import LIMITS
from edge_protocol.bundle import ImageInput
from edge_protocol.codes import Reason

log = logging.getLogger(__name__)

BUFFERS = 4
"""Tensors between the two threads. With four the pair reaches .93 of the bare session, with two .89."""

Array: TypeAlias = npt.NDArray[Any]
Guard: TypeAlias = Callable[[Look], Reason]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A decoded input that is trusted, or the reason why there is none, in a code and in words."""

    array: Array | None = None
    signals: Mapping[str, float] = field(default_factory=dict)
    reason: Reason = Reason.NONE
    detail: str = ""
    placement: Placement | None = None


class Lane:
    """One model between the two threads of its pipeline. A swap changes the lane between two samples."""

    def __init__(self, model: Model, guard: Guard) -> None:
        self.model = model
        self.guard = guard
        self.decider = Decider(model.operating_point)
        self.free: queue.SimpleQueue[Array] = queue.SimpleQueue()
        for _ in range(BUFFERS):
            self.free.put(model.new_tensor())
        self._sampler = make_sampler(model)

    def decode(self, sample: Sample) -> Prepared:
        """The values of a sample."""
        found = _safely(lambda: Prepared(self.model.decode(sample)))
        if found.reason is Reason.NOT_FINITE and _channel(self.model, sample).missing:
            # The source has said what the values that are no numbers are: it knows that they never came.
            return replace(found, reason=Reason.GAP)
        return found

    def look(self, sample: Sample, array: Array) -> Prepared:
        """What is watched of the values, and whether they are to be trusted."""
        return _safely(lambda: inspect(self.model, self._sampler, self.guard, sample, array))

    def fill(self, array: Array, tensor: Array) -> Prepared:
        """Write the values into a tensor."""

        def write() -> Prepared:
            return Prepared(array, placement=self.model.write(array, tensor))

        return _safely(write)


def inspect(model: Model, sampler: Sampler | None, guard: Guard, sample: Sample, array: Array) -> Prepared:
    """What is watched of the decoded values of a sample, and what the guard says; pictures need the `sampler`.

    Raises:
        InferenceError: nothing can be watched of them.
    """
    values, luma = array, None
    if sampler is not None:
        values, luma = sampler.take(array)
        signals = sampler.signals()
    else:
        signals = model.signals(array)
    channel = _channel(model, sample)
    look = Look(values, luma, signals, channel.mono_us, channel.taken_us, channel.missing, sample.replayed)
    reason = guard(look)
    return Prepared(array, signals, reason, "" if reason is Reason.NONE else _why(reason, signals))


def make_sampler(model: Model) -> Sampler | None:
    """What `inspect` needs for a model of pictures; None for the others."""
    return Sampler() if isinstance(model.manifest.input, ImageInput) else None


def _channel(model: Model, sample: Sample) -> Channel:
    channels = sample.channels
    return channels.get(model.preprocessor.channel) or next(iter(channels.values()))


def _why(reason: Reason, signals: Mapping[str, float]) -> str:
    """What was seen, and which limits it is beyond."""
    seen = ", ".join(f"{name} {value:.4g}" for name, value in signals.items())
    keys = LIMITS.get(reason, ())
    return f"{seen}; by [pipelines.guard] {' or '.join(keys)}" if keys else seen


def _safely(work: Callable[[], Prepared]) -> Prepared:
    """What `work` gives. An input that nobody foresaw costs its own part and no other: the line goes on."""
    try:
        return work()
    except InferenceError as error:
        return Prepared(reason=error.reason, detail=error.told)
    except Exception as error:
        log.exception("an input that cannot be read in a way nobody expected")
        return Prepared(reason=Reason.UNREADABLE, detail=f"{type(error).__name__}: {error}")
