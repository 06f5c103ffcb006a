"""Trigger and sample in, exactly one judgement out, in order, by two threads that share a few preallocated tensors.

The first thread (`admit`) decodes, guards and writes the tensor; the second (`step`) runs the model and judges.
Never records and never talks to the line: it hands each judgement to `emit`.
"""

import logging
import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TypeAlias

from edge_agent.clock import Clock
from edge_agent.errors import InferenceError
from edge_agent.inference.engine import Engine
from edge_agent.inference.geometry import Placement
from edge_agent.inference.lane import BUFFERS, Array, Guard, Lane
from edge_agent.inference.model import Model
from edge_agent.judgement import Judgement, Prediction
from edge_agent.sample import Sample, Trigger
from edge_agent.settings.pipelines import Policy
from edge_protocol.bundle import OperatingPoint
from edge_protocol.codes import Reason, Verdict

log = logging.getLogger(__name__)

Observe: TypeAlias = Callable[[str, float], None]
Exhibit: TypeAlias = Callable[[Judgement, Sample], None]
Answer: TypeAlias = Callable[[Mapping[str, Array] | InferenceError], None]
"""What is told of a probe: the outputs, or why there are none."""


@dataclass(frozen=True, slots=True)
class _Held:
    """What is kept of a part until its verdict. The sample only where somebody wants to show it."""

    tensor: Array
    placement: Placement | None
    sample: Sample | None
    since_s: float


@dataclass(frozen=True, slots=True)
class _Item:
    """One trigger on its way to the second thread: with a tensor to judge, or with the reason why there is none.

    `held` has one entry or none: whoever takes it out has the tensor, the judging thread or a newer part.
    """

    trigger: Trigger
    lane: Lane
    reason: Reason = Reason.SKIPPED
    detail: str = ""
    held: list[_Held] = field(default_factory=list)
    signals: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Probe:
    """A tensor whose answer is known, for the live engine in its turn between two parts. Nothing of it is emitted."""

    model: Model
    tensor: Array
    answer: Answer


@dataclass(frozen=True, slots=True)
class Override:
    """An operating point in the place of the one of this bundle; `sha256` is that of the file that was signed."""

    bundle: str
    point: OperatingPoint
    sha256: bytes


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
        policy: Policy = "every",
        sample_every: int = 1,
        observe: Observe = lambda _stage, _seconds: None,
        exhibit: Exhibit | None = None,
    ) -> None:
        """`exhibit` is shown each NG and REVIEW with its sample, on the judging thread: it must return at once."""
        self.name = name
        self._emit = emit
        self._clock = clock
        self._deadline_us = round(deadline_ms * 1000)
        self._policy = policy
        self._sample_every = sample_every
        self._observe = observe
        self._exhibit = exhibit
        self._lane = Lane(model, guard)
        self._judged: weakref.ref[Lane] | None = None
        self._items: queue.SimpleQueue[_Item | _Probe] = queue.SimpleQueue()
        self._newest: deque[_Item] = deque(maxlen=BUFFERS)
        self._count = 0
        self._distrusted: weakref.ref[Engine] | None = None
        self._override: Override | None = None
        self._changing = threading.Lock()

    @property
    def model(self) -> Model:
        """The model that judges what is admitted from now on."""
        return self._lane.model

    @property
    def quarantined(self) -> bool:
        """Whether what is admitted now is not judged, because its model is not trusted."""
        return self._is_distrusted(self._lane.model)

    def swap(self, model: Model, guard: Guard | None = None) -> None:
        """Let `model` judge from the next sample on; what is under way is judged by the model it entered with.

        `guard` is the one that suits its contract; without it the present one stays.
        """
        with self._changing:
            self._lane = Lane(_settled(model, self._override), guard or self._lane.guard)

    def replace(self, before: Model, model: Model, guard: Guard) -> bool:
        """Swap if `before` still judges; whether it did."""
        with self._changing:
            if self._lane.model is not before:
                return False
            self._lane = Lane(_settled(model, self._override), guard)
        return True

    def judge_by(self, override: Override | None) -> None:
        """From the next sample on `override` holds where its bundle judges, else the bundle's own operating point.

        No model is loaded: the same engine goes on, and one that is not trusted is trusted no more than before.
        """
        with self._changing:
            self._override, before = override, self._lane.model
            model = _settled(before, override)
            if model is not before:
                self._lane = Lane(model, self._lane.guard)

    def quarantine(self, model: Model) -> None:
        """What this engine would judge from now on is UNINSPECTED, also what is under way; another judges as ever."""
        self._distrusted = weakref.ref(model.engine)

    def release(self) -> None:
        """Trust every model again."""
        self._distrusted = None

    def probe(self, model: Model, tensor: Array, answer: Answer) -> None:
        """Have `model` run a tensor of its own in its turn, on the judging thread; `answer` hears of it there."""
        self._items.put(_Probe(model, tensor, answer))

    def admit(self, trigger: Trigger, sample: Sample) -> None:
        """Take a trigger with its sample.

        While all tensors are in use, `every` and `sample` wait: an overloaded line is held up. `latest` gives up what
        waits to be judged, so that this sample is next.
        """
        lane, self._count = self._lane, self._count + 1
        if sample.fault is not Reason.NONE:
            self._items.put(_Item(trigger, lane, sample.fault, sample.detail))
        elif self._is_distrusted(lane.model):
            self._items.put(_Item(trigger, lane, Reason.QUARANTINED))
        elif self._policy == "sample" and (self._count - 1) % self._sample_every:
            self._items.put(_Item(trigger, lane, Reason.SKIPPED))
        else:
            self._items.put(self._prepare(trigger, lane, sample))

    def refuse(self, trigger: Trigger, reason: Reason) -> None:
        """Take a trigger that nothing can be judged for; it becomes UNINSPECTED in its turn."""
        self._items.put(_Item(trigger, self._lane, reason))

    def step(self, timeout_s: float) -> bool:
        """Judge one admitted trigger, or run one probe; False when none came within `timeout_s`."""
        try:
            item = self._items.get(timeout=timeout_s)
        except queue.Empty:
            return False
        if isinstance(item, _Probe):
            _run_probe(item)
        else:
            self._finish(item)
        return True

    def _prepare(self, trigger: Trigger, lane: Lane, sample: Sample) -> _Item:
        started = perf_counter()
        read = lane.decode(sample)
        decoded = perf_counter()
        seen = read if read.array is None else lane.look(sample, read.array)
        if seen.array is None or seen.reason is not Reason.NONE:
            return _Item(trigger, lane, seen.reason, seen.detail)
        looked = perf_counter()
        # Only now: an input that cannot be judged takes no tensor from one that can.
        tensor = self._tensor(trigger, lane)
        if tensor is None:
            return _Item(trigger, lane, Reason.LATE)
        filling = perf_counter()
        written = lane.fill(seen.array, tensor)
        if written.reason is not Reason.NONE:
            lane.free.put(tensor)
            return _Item(trigger, lane, written.reason, written.detail)
        filled = perf_counter()
        self._observe("decode", decoded - started)
        self._observe("pre", looked - decoded + filled - filling)
        held = _Held(tensor, written.placement, sample if self._exhibit is not None else None, filled)
        item = _Item(trigger, lane, held=[held], signals=seen.signals)
        if self._policy == "latest":
            self._newest.append(item)
        return item

    def _tensor(self, trigger: Trigger, lane: Lane) -> Array | None:
        """A tensor to fill; None when the part's deadline has passed before there was one."""
        if self._policy == "latest" and lane.free.empty():
            self._give_up_waiting()
        left_s = None if not self._deadline_us else max(0.0, (self._deadline_us - self._age_us(trigger)) / 1e6)
        try:
            return lane.free.get(timeout=left_s)
        except queue.Empty:
            return None

    def _give_up_waiting(self) -> None:
        """Take the tensors of what nobody has begun to judge; those parts leave as SKIPPED in their turn."""
        while self._newest:
            item = self._newest.popleft()
            if (held := _take(item)) is not None:
                item.lane.free.put(held.tensor)

    def _finish(self, item: _Item) -> None:
        if self._judged is None or self._judged() is not item.lane:
            # What its model judged before, goldens or parts of long ago, is no past of this one.
            self._judged = weakref.ref(item.lane)
            item.lane.model.forget()
        held = _take(item)
        if held is None:
            self._emit(self._refused(item, item.reason, item.detail))
            return
        self._observe("queue", perf_counter() - held.since_s)
        try:
            judgement = self._judge(item, held)
        finally:
            item.lane.free.put(held.tensor)
        # Who records or tells it may wait for a disk or a line with thousands of them.
        self._emit(_without_heatmap(judgement))
        if held.sample is not None and self._exhibit is not None and judgement.verdict in (Verdict.NG, Verdict.REVIEW):
            self._exhibit(judgement, held.sample)

    def _judge(self, item: _Item, held: _Held) -> Judgement:
        model = item.lane.model
        if self._is_late(item.trigger):
            return self._refused(item, Reason.LATE)
        if self._is_distrusted(model):
            return self._refused(item, Reason.QUARANTINED)
        try:
            prediction = self._infer(item, held)
            if self._is_late(item.trigger):
                # The line has let the part pass by now: what is said of it too late must not read as a word in time.
                return self._refused(item, Reason.LATE)
            verdict, reason = item.lane.decider.decide(prediction)
        except InferenceError as error:
            return self._refused(item, error.reason, error.told)
        except Exception as error:
            log.exception("a part that cannot be judged in a way nobody expected")
            return self._refused(item, Reason.ENGINE_FAULT, f"{type(error).__name__}: {error}")
        return Judgement(
            trigger=item.trigger,
            pipeline=self.name,
            context=model.context(self.name),
            verdict=verdict,
            reason=reason,
            score=prediction.score,
            latency_us=self._age_us(item.trigger),
            signals={**item.signals, "score": prediction.score},
            prediction=prediction,
        )

    def _infer(self, item: _Item, held: _Held) -> Prediction:
        model, started = item.lane.model, perf_counter()
        try:
            outputs = model.advance(held.tensor)
        finally:
            ran = perf_counter()
            self._observe("infer", ran - started)
        prediction = model.conclude(outputs, held.placement, tensor=held.tensor)
        self._observe("post", perf_counter() - ran)
        return prediction

    def _refused(self, item: _Item, reason: Reason, detail: str = "") -> Judgement:
        """UNINSPECTED: no score, and no signals, so that it counts nowhere. For a model with a state it is a gap."""
        item.lane.model.forget()
        return Judgement(
            trigger=item.trigger,
            pipeline=self.name,
            context=item.lane.model.context(self.name),
            verdict=Verdict.UNINSPECTED,
            reason=reason,
            score=None,
            latency_us=self._age_us(item.trigger),
            detail=detail,
        )

    def _is_distrusted(self, model: Model) -> bool:
        return self._distrusted is not None and self._distrusted() is model.engine

    def _is_late(self, trigger: Trigger) -> bool:
        return bool(self._deadline_us) and self._age_us(trigger) > self._deadline_us

    def _age_us(self, trigger: Trigger) -> int:
        return self._clock.mono_us() - trigger.mono_us


def _take(item: _Item) -> _Held | None:
    """What the item holds, for one of those who ask."""
    try:
        return item.held.pop()
    except IndexError:
        return None


def _without_heatmap(judgement: Judgement) -> Judgement:
    found = judgement.prediction
    if found is None or found.heatmap is None:
        return judgement
    return replace(judgement, prediction=replace(found, heatmap=None))


def _settled(model: Model, override: Override | None) -> Model:
    """The model itself where it judges by what it should, else a twin of the same engine that does."""
    if override is not None and override.bundle == model.digest:
        return model if model.point_digest == override.sha256 else model.at(override.point, override.sha256)
    return model.at(model.manifest.operating_point, b"") if model.point_digest else model


def _run_probe(probe: _Probe) -> None:
    try:
        found: Mapping[str, Array] | InferenceError = probe.model.run(probe.tensor)
    except InferenceError as error:
        found = error
    probe.answer(found)
