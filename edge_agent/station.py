"""One trigger of the line with all it feeds: a tick comes in, each of its pipelines gets the trigger with a sample.

A tick that found nobody ready is a part that passed: it becomes UNINSPECTED, not nothing. Never judges or records.
"""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from time import perf_counter

from edge_agent.clock import Clock
from edge_agent.errors import SourceError
from edge_agent.inference import ring
from edge_agent.inference.intake import Intake, IntakeFull
from edge_agent.inference.numbering import Lost, Numbering
from edge_agent.inference.pipeline import Observe, Pipeline
from edge_agent.judgement import Judgement
from edge_agent.monitoring.faults import Faults
from edge_agent.sample import Sample, Trigger
from edge_agent.sources.source import Source
from edge_agent.sources.triggers import Tick, Ticker
from edge_protocol.codes import Reason, Verdict, worst

log = logging.getLogger(__name__)

MAX_MISSED = 1000
"""More ticks at once than this were not parts that passed: the machine slept, or somebody stopped the process."""

MAX_NUMBER = 2**62
"""A source that counts higher does not count parts: its numbers are not looked at."""

FULL_WAIT_S = 0.02
"""How long to wait for the recorder when the intake ring is full of what it has not committed."""

REOPEN_S = 1.0
"""Pause before a source that went away is opened again."""


@dataclass(slots=True)
class _Part:
    """A trigger on its way through several pipelines."""

    left: int
    verdicts: list[Verdict]


class Station:
    """A trigger, the sources that are looked at when it fires, and the pipelines that judge what they give."""

    def __init__(
        self,
        name: str,
        ticker: Ticker,
        sources: Mapping[str, Source],
        pipelines: Mapping[str, Sequence[Pipeline]],
        *,
        intake: Intake,
        clock: Clock,
        faults: Faults,
        observe: Mapping[str, Observe] | None = None,
        missed: Callable[[int], None] = lambda _ticks: None,
        recorded: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """`pipelines` by the source they look at; `observe` by pipeline is told how long a grab took.

        `taken` counts triggers by pipeline: a part that a source's numbers leave out is one for its own pipelines only.

        `recorded`: after a stop that nobody asked for, the last number of a part on record, by pipeline.
        """
        self.name = name
        self._ticker = ticker
        self._sources = sources
        self._feeds = pipelines
        self.pipelines = tuple(pipeline.name for each in pipelines.values() for pipeline in each)
        self.taken: Counter[str] = Counter()
        self._intake = intake
        self._clock = clock
        self._faults = faults
        self._observe = observe or {}
        self._missed = missed
        self._numbering = {name: Numbering(recorded) for name in sources}
        self._left: dict[str, deque[Trigger]] = {}
        self._parts: dict[int, _Part] = {}
        self._lock = threading.Lock()

    def resume(self, left: Iterable[Judgement]) -> None:
        """Take over triggers of which a kill left open whether they had a part, at a source that counts its parts.

        The next number tells: what it leaves out is theirs before it is any new trigger's.
        """
        for each in left:
            if each.pipeline in self.pipelines:
                self._left.setdefault(each.pipeline, deque()).append(each.trigger)
                self.taken[each.pipeline] += 1

    def open(self) -> None:
        """Open the sources.

        Raises:
            SourceError: one of them is not there.
        """
        for source in self._sources.values():
            source.open()

    def close(self) -> None:
        """Close the sources."""
        for source in self._sources.values():
            source.close()

    def run(self, stop: threading.Event) -> None:
        """Take what comes until `stop`. A source that goes away is opened again, once a second."""
        part, is_away = f"trigger {self.name}", False
        while not stop.is_set():
            try:
                took = self.step(stop)
            except SourceError as error:
                is_away = True
                self._faults.tell(part, "source-away", active=True, detail=str(error))
                stop.wait(REOPEN_S)
                with suppress(SourceError):
                    self.open()
                continue
            if is_away:
                is_away = False
                self._faults.tell(part, "source-away", active=False)
            if not took:
                stop.wait(self._ticker.idle_s(self._clock.mono_us()))
        self._let_go(self.pipelines, self._clock.mono_us())
        self._ticker.close()

    def step(self, stop: threading.Event) -> bool:
        """Take one tick with the ticks missed before it; False when none is due.

        Raises:
            SourceError: the source that is asked has gone away.
        """
        tick = self._ticker.poll(self._clock.mono_us())
        if tick is None:
            return False
        if tick.missed:
            self._miss(tick, stop)
        if (trigger := self._take(tick, stop)) is not None:
            self._admit(_named(trigger, tick), stop)
        return True

    def answered(self, judgement: Judgement) -> None:
        """One of the pipelines has its verdict; after the last one the source hears the worst of them."""
        n = judgement.trigger.n
        with self._lock:
            part = self._parts.get(n)
            if part is None:  # taken by a process before this one
                return
            part.left -= 1
            part.verdicts.append(judgement.verdict)
            if part.left:
                return
            del self._parts[n]
        for name, source in self._sources.items():
            try:
                source.done(judgement.trigger, worst(part.verdicts))
            except SourceError as error:
                self._faults.tell(f"source {name}", "cannot-put-away", active=True, detail=str(error))
            else:
                self._faults.tell(f"source {name}", "cannot-put-away", active=False)

    def _miss(self, tick: Tick, stop: threading.Event) -> None:
        self._missed(tick.missed)
        beyond = tick.missed - MAX_MISSED
        if beyond > 0:
            detail = f"{beyond} ticks were due while nothing ran here; they are no triggers"
            self._faults.tell(f"trigger {self.name}", "ticks-skipped", active=True, detail=detail)
            self._faults.tell(f"trigger {self.name}", "ticks-skipped", active=False)
        for _ in range(min(tick.missed, MAX_MISSED)):
            if (trigger := self._take(Tick(tick.due_us), stop)) is not None:
                self._refuse(trigger, Reason.OVERLOAD, self.pipelines)

    def _take(self, tick: Tick, stop: threading.Event, names: Sequence[str] = ()) -> Trigger | None:
        """The trigger of a tick, of all pipelines or of `names`; None when the agent stops before the ring has room."""
        names = names or self.pipelines
        at_us = self._clock.wall_us() - (self._clock.mono_us() - tick.due_us)
        while True:
            try:
                trigger = self._intake.take(
                    names, at_us, tick.due_us, part=tick.part, product=tick.product, lot=tick.lot
                )
            except IntakeFull:
                if stop.wait(FULL_WAIT_S):
                    return None
                continue
            self.taken.update(names)
            with self._lock:
                self._parts[trigger.n] = _Part(len(names), [])
            return trigger

    def _refuse(self, trigger: Trigger, reason: Reason, names: Sequence[str]) -> None:
        for pipelines in self._feeds.values():
            for pipeline in pipelines:
                if pipeline.name in names:
                    pipeline.refuse(trigger, reason)

    def _admit(self, trigger: Trigger, stop: threading.Event) -> None:
        for name, pipelines in self._feeds.items():
            started = perf_counter()
            sample = _grab(self._sources[name], trigger)
            grab_s = perf_counter() - started
            named = _named(trigger, sample)
            if named.number is not None:
                self._count(name, named, stop)
            for pipeline in pipelines:
                if pipeline.name in self._observe:
                    self._observe[pipeline.name]("grab", grab_s)
                pipeline.admit(named, sample)

    def _count(self, source: str, trigger: Trigger, stop: threading.Event) -> None:
        """The source counts its parts: those that its numbers leave out are triggers too, before this one."""
        names, number = [pipeline.name for pipeline in self._feeds[source]], trigger.number or 0
        lost, beyond = self._numbering[source].next(number, names)
        for each in lost:
            self._lose(each, trigger, stop)
        # Last: a kill in between must not leave a number on record behind which nobody looks for the lost ones.
        self._intake.number(trigger.n, names, number)
        self._let_go(names, trigger.mono_us)
        if beyond > 0:
            detail = f"{beyond} more numbers before {number} are missing; they are no triggers"
            self._faults.tell(f"source {source}", "numbers-skipped", active=True, detail=detail)
            self._faults.tell(f"source {source}", "numbers-skipped", active=False)

    def _lose(self, part: Lost, found: Trigger, stop: threading.Event) -> None:
        """A part that never came, as `found` tells, has a trigger: what a kill left without a part, or a new one."""
        new = []
        for name in part.pipelines:
            if left := self._left.get(name):
                self._declare(replace(left.popleft(), mono_us=found.mono_us), part, (name,))
            else:
                new.append(name)
        if new and (trigger := self._take(Tick(found.mono_us), stop, new)) is not None:
            self._declare(trigger, part, new)

    def _declare(self, trigger: Trigger, part: Lost, names: Sequence[str]) -> None:
        self._intake.number(trigger.n, names, part.number)
        self._refuse(replace(trigger, part=trigger.part or str(part.number), number=part.number), part.reason, names)

    def _let_go(self, names: Iterable[str], mono_us: int) -> None:
        """No number was left out for them: they had no part, or one that came again."""
        for name in names:
            for trigger in self._left.pop(name, ()):
                self._refuse(replace(trigger, mono_us=mono_us), Reason.INTERRUPTED, (name,))


def _grab(source: Source, trigger: Trigger) -> Sample:
    """What the source has for a trigger. One that fails in a way nobody expected costs this part and no other."""
    try:
        return source.grab(trigger)
    except SourceError as error:
        return Sample(fault=Reason.SOURCE_FAULT, detail=str(error))
    except Exception as error:
        log.exception("a source failed in a way nobody expected")
        return Sample(fault=Reason.SOURCE_FAULT, detail=f"{type(error).__name__}: {error}")


def _named(trigger: Trigger, told: Tick | Sample) -> Trigger:
    """The trigger with what the line calls its part; what it was called before stays where nothing is said."""
    if told.number is not None and abs(told.number) < MAX_NUMBER:
        trigger = replace(trigger, number=told.number, part=trigger.part or str(told.number))
    if not (told.part or told.product or told.lot):
        return trigger
    said = (told.part or trigger.part, told.product or trigger.product, told.lot or trigger.lot)
    part, product, lot = ring.kept(*said)
    return replace(trigger, part=part, product=product, lot=lot)
