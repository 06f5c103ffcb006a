"""Trigger and sample in, exactly one judgement out, in order, by two threads that share a few preallocated tensors.

The first thread (`admit`) decodes, guards and writes the tensor; the second (`step`) runs the model and judges.
Never records and never talks to the line: it hands each judgement to `emit`.
"""

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, TypeAlias

import numpy.typing as npt

from edge_agent.clock import Clock
from edge_agent.errors import InferenceError
from edge_agent.inference.model import Model
from edge_agent.judgement import Judgement
from edge_agent.sample import Sample, Trigger
from edge_protocol.codes import Reason, Verdict

BUFFERS = 4
"""Tensors between the two threads. With four the pair reaches .93 of the bare session, with two .89."""

Guard: TypeAlias = Callable[[npt.NDArray[Any], bool], Reason]
Observe: TypeAlias = Callable[[str, float], None]
Answer: TypeAlias = Callable[[Mapping[str, npt.NDArray[Any]] | InferenceError], None]
"""What is told of a probe: the outputs, or why there are none."""


@dataclass(frozen=True, slots=True)
class _Lane:
    """A loaded model with the tensors that are shaped for it. A swap changes the lane between two samples."""

    model: Model
    guard: Guard
    free: queue.SimpleQueue[npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class _Item:
    """One trigger on its way to the second thread: with a tensor to judge, or with the reason why there is none."""

    trigger: Trigger
    lane: _Lane
    tensor: npt.NDArray[Any] | None
    reason: Reason = Reason.NONE
    signals: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Probe:
    """A tensor whose answer is known, for the live engine in its turn between two parts. Nothing of it is emitted."""

    model: Model
    tensor: npt.NDArray[Any]
    answer: Answer


class Pipeline:
    """One model at one place of the line. `admit` and `refuse` belong to one thread, `step` to another."""

    def __init__(
        self,
        name: str,
        model: Model,
        *,
        guard: Guard,
        emit: Callable[[Judgement], None],
        clock: Clock,
        deadline_ms: float = 0.0,
        observe: Observe = lambda _stage, _seconds: None,
    ) -> None:
        self.name = name
        self._emit = emit
        self._clock = clock
        self._deadline_us = round(deadline_ms * 1000)
        self._observe = observe
        self._lane = _make_lane(model, guard)
        self._items: queue.SimpleQueue[_Item | _Probe] = queue.SimpleQueue()
        self._distrusted: Model | None = None
        self._changing = threading.Lock()

    @property
    def model(self) -> Model:
        """The model that judges what is admitted from now on."""
        return self._lane.model

    def swap(self, model: Model, guard: Guard | None = None) -> None:
        """Let `model` judge from the next sample on; what is under way is judged by the model it entered with.

        `guard` is the one that suits its contract; without it the present one stays.
        """
        with self._changing:
            self._lane = _make_lane(model, guard or self._lane.guard)

    def replace(self, before: Model, model: Model, guard: Guard) -> bool:
        """Swap if `before` still judges; whether it did."""
        with self._changing:
            if self._lane.model is not before:
                return False
            self._lane = _make_lane(model, guard)
        return True

    def quarantine(self, model: Model) -> None:
        """What `model` would judge from now on is UNINSPECTED, also what is under way; another model judges as ever."""
        self._distrusted = model

    def release(self) -> None:
        """Trust every model again."""
        self._distrusted = None

    def probe(self, model: Model, tensor: npt.NDArray[Any], answer: Answer) -> None:
        """Have `model` run a tensor of its own in its turn, on the judging thread; `answer` hears of it there."""
        self._items.put(_Probe(model, tensor, answer))

    def admit(self, trigger: Trigger, sample: Sample) -> None:
        """Take a trigger with its sample. Blocks while all tensors are in use: an overloaded line waits, skips none."""
        lane = self._lane
        if sample.fault is not Reason.NONE:
            self._items.put(_Item(trigger, lane, None, sample.fault))
            return
        if lane.model is self._distrusted:
            self._items.put(_Item(trigger, lane, None, Reason.QUARANTINED))
            return
        tensor = lane.free.get()
        try:
            reason, signals = self._prepare(lane, sample, tensor)
        except InferenceError as error:
            reason, signals = error.reason, {}
        if reason is Reason.NONE:
            self._items.put(_Item(trigger, lane, tensor, signals=signals))
        else:
            lane.free.put(tensor)
            self._items.put(_Item(trigger, lane, None, reason))

    def refuse(self, trigger: Trigger, reason: Reason) -> None:
        """Take a trigger that nothing can be judged for; it becomes UNINSPECTED in its turn."""
        self._items.put(_Item(trigger, self._lane, None, reason))

    def step(self, timeout_s: float) -> bool:
        """Judge one admitted trigger, or run one probe; False when none came within `timeout_s`."""
        try:
            item = self._items.get(timeout=timeout_s)
        except queue.Empty:
            return False
        if isinstance(item, _Probe):
            _run_probe(item)
        else:
            self._emit(self._judge(item))
        return True

    def _prepare(self, lane: _Lane, sample: Sample, tensor: npt.NDArray[Any]) -> tuple[Reason, Mapping[str, float]]:
        started, model = perf_counter(), lane.model
        array = model.decode(sample)
        decoded = perf_counter()
        reason = lane.guard(array, sample.replayed)
        if reason is not Reason.NONE:
            return reason, {}
        signals = model.signals(array)
        model.write(array, tensor)
        self._observe("decode", decoded - started)
        self._observe("pre", perf_counter() - decoded)
        return Reason.NONE, signals

    def _judge(self, item: _Item) -> Judgement:
        model = item.lane.model
        verdict, reason, score, signals, prediction = Verdict.UNINSPECTED, item.reason, None, item.signals, None
        if item.tensor is not None and self._is_late(item.trigger):
            reason = Reason.LATE
        elif item.tensor is not None and model is self._distrusted:
            reason = Reason.QUARANTINED
        elif item.tensor is not None:
            started = perf_counter()
            try:
                prediction = model.predict(item.tensor)
                verdict, reason = model.verdict(prediction)
                score = prediction.score
                signals = {**signals, "score": score}
            except InferenceError as error:
                reason = error.reason
            self._observe("infer", perf_counter() - started)
        if item.tensor is not None:
            item.lane.free.put(item.tensor)
        return Judgement(
            trigger=item.trigger,
            pipeline=self.name,
            context=model.context(self.name),
            verdict=verdict,
            reason=reason,
            score=score,
            latency_us=self._clock.mono_us() - item.trigger.mono_us,
            signals={} if verdict is Verdict.UNINSPECTED else signals,
            prediction=prediction,
        )

    def _is_late(self, trigger: Trigger) -> bool:
        return bool(self._deadline_us) and self._clock.mono_us() - trigger.mono_us > self._deadline_us


def _run_probe(probe: _Probe) -> None:
    try:
        found: Mapping[str, npt.NDArray[Any]] | InferenceError = probe.model.run(probe.tensor)
    except InferenceError as error:
        found = error
    probe.answer(found)


def _make_lane(model: Model, guard: Guard) -> _Lane:
    free: queue.SimpleQueue[npt.NDArray[Any]] = queue.SimpleQueue()
    for _ in range(BUFFERS):
        free.put(model.new_tensor())
    return _Lane(model, guard, free)
