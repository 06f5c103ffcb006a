"""What was taken and is not yet on record: triggers come in, and after a kill −9 those without a record come out again.

A memory-mapped ring of fixed slots: the kernel keeps what a killed process wrote, so nothing is synced and a trigger
costs microseconds. After a power cut it is not believed; it then only says how far numbering may have come.
"""

import mmap
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_agent import durable
from edge_agent.errors import AgentError, StoreError
from edge_agent.inference import ring
from edge_agent.judgement import Judgement
from edge_agent.sample import Trigger
from edge_protocol.batch import Context
from edge_protocol.codes import Reason, Verdict


class IntakeFull(AgentError):
    """No slot is free, and no number was given: the recorder does not keep up."""

    retry = True

    def __init__(self) -> None:
        super().__init__("the intake ring is full", "the disk is too slow for this rate, or cannot be written")


@dataclass(frozen=True, slots=True)
class Recovery:
    """What an earlier process left: its verdicts without a known record, and the triggers it had no verdict for.

    `answered` hold the true verdict, `unanswered` are UNINSPECTED; either may be on record already, by a kill between
    commit and settle. After a `power_cut` both are empty and `skipped` are the numbers that may have been given.
    """

    answered: tuple[Judgement, ...]
    unanswered: tuple[Judgement, ...]
    next_n: int
    power_cut: bool = False
    skipped: tuple[int, int] | None = None
    torn: int = 0


class Intake:
    """The open ring. Made by `Intake.open`; safe to use from every thread."""

    def __init__(
        self, path: Path, memory: mmap.mmap, boot: str, epoch: int, after: int, *, owed_from: int, lost: bool
    ) -> None:
        self.path = path
        self._memory = memory
        self._header = ring.Header(memory)
        self._contexts = ring.Contexts(memory)
        self._slots = ring.Slots(memory, self._header.slots)
        self._lock = threading.Lock()
        self._taken: dict[tuple[int, str], int] = {}
        self._epoch = epoch
        self._recovery = self._read_back(boot, after, owed_from=owed_from, lost=lost)
        # The lowest slots are used first and again: a ring that is mostly empty keeps few pages dirty.
        occupied = set(self._taken.values())
        self._free = [slot for slot in reversed(range(self._header.slots)) if slot not in occupied]
        self._next_n = self._recovery.next_n
        self._header.begin(boot, epoch, self._next_n)
        memory.flush()
        # Every slot was looked at; the kernel has them, and those that are used come back by themselves.
        memory.madvise(mmap.MADV_DONTNEED)

    @classmethod
    def open(
        cls, path: Path, *, slots: int = 4096, boot: str, epoch: int = 0, after: int = 0, owed_from: int = 0
    ) -> "Intake":
        """The ring at `path`, made if it is not there; one that exists keeps its size.

        `boot` is this boot of the machine, `epoch` goes into the triggers, `after` is the last trigger on record.
        `owed_from`, when it is known, is the first one of which not every verdict is.

        Raises:
            StoreError: the file cannot be made or mapped.
        """
        try:
            durable.make_folder(path.parent)
            sound = path.exists() and ring.is_ring(path)
            lost = not sound and (path.exists() or after > 0)
            if not sound:
                durable.write_file(path, ring.blank(slots))
            with path.open("r+b") as file:
                memory = mmap.mmap(file.fileno(), 0)
        except OSError as error:
            message = f"{path} cannot be used: {error.strerror}"
            raise StoreError(message, "free disk space, and let the agent's user own the data directory") from error
        return cls(path, memory, boot, epoch, after, owed_from=owed_from or after + 1, lost=lost)

    def take(
        self, pipelines: Sequence[str], at_us: int, mono_us: int, *, part: str = "", product: str = "", lot: str = ""
    ) -> Trigger:
        """The next trigger, called as its slots keep it, with one for each pipeline that owes it a verdict.

        Raises:
            IntakeFull: no trigger was taken.
        """
        part, product, lot = ring.kept(part, product, lot)
        with self._lock:
            n = self._next_n
            numbers = [self._contexts.number(Context(name), self._in_use) for name in pipelines]
            if len(pipelines) > len(self._free) or None in numbers:
                raise IntakeFull
            for name, number in zip(pipelines, numbers, strict=True):
                slot = self._free.pop()
                self._slots.take(slot, ring.pack(n, at_us, mono_us, number or 0, (part, product, lot)))
                self._taken[n, name] = slot
            # Written last: a trigger exists, for all its pipelines or for none.
            self._next_n = self._header.next_n = n + 1
        return Trigger(self._epoch, n, at_us, mono_us, part, product, lot)

    def number(self, n: int, pipelines: Iterable[str], number: int) -> None:
        """Note the source's own number of trigger `n`, so that a kill does not make it look lost."""
        with self._lock:
            for slot in (self._taken.get((n, pipeline)) for pipeline in pipelines):
                if slot is not None:
                    self._slots.number(slot, n, number)

    def answer(self, judgement: Judgement) -> None:
        """Note the verdict: from now on a kill cannot turn it into another."""
        with self._lock:
            slot = self._taken.get((judgement.trigger.n, judgement.pipeline))
            if slot is None:
                return
            number = self._contexts.number(judgement.context, self._in_use)
            if number is None:
                number = self._slots.contexts_of(slot)[0]
            said = (judgement.verdict, judgement.reason, judgement.score, judgement.latency_us)
            trigger = judgement.trigger
            self._slots.answer(slot, ring.Answer(number, *said, (trigger.part, trigger.product, trigger.lot)))

    def settle(self, judgements: Iterable[Judgement]) -> None:
        """Free the slots of what is on record. Those without a slot are passed over."""
        with self._lock:
            for judgement in judgements:
                slot = self._taken.pop((judgement.trigger.n, judgement.pipeline), None)
                if slot is not None:
                    self._slots.free(slot)
                    self._free.append(slot)

    def owed_from(self, settled: Iterable[Judgement] = ()) -> int:
        """The first trigger that owes a verdict once these are on record: all before it are told of, to the last."""
        told = {(judgement.trigger.n, judgement.pipeline) for judgement in settled}
        with self._lock:
            return min((n for n, name in self._taken if (n, name) not in told), default=self._next_n)

    def recover(self) -> Recovery:
        """What the process before this one left. Its slots stay taken until they are settled."""
        return self._recovery

    @property
    def open_slots(self) -> int:
        """How many verdicts are owed or not yet on record."""
        return len(self._taken)

    def close(self) -> None:
        """Note a stop that left nothing behind. May be called twice."""
        with self._lock:
            if not self._memory.closed:
                self._header.end(clean=not self._taken)
                self._memory.flush()
                self._header.release()
                self._memory.close()

    def _in_use(self) -> set[int]:
        return {number for slot in self._taken.values() for number in self._slots.contexts_of(slot)}

    def _read_back(self, boot: str, after: int, *, owed_from: int, lost: bool) -> Recovery:
        header = self._header
        next_n = max(header.next_n, after + 1)
        if lost or (header.boot != boot and not header.clean):
            # Each number beyond `after` was given with a slot that is not settled: there are no more than slots. One
            # pipeline may be behind another, so some before it may be owed too.
            for slot in range(header.slots):
                self._slots.free(slot)
            end = next_n + header.slots
            return Recovery((), (), end, power_cut=True, skipped=(min(owed_from, after + 1), end - 1))
        answered: list[Judgement] = []
        unanswered: list[Judgement] = []
        torn = 0
        for slot, content in self._slots.occupied():
            if content is None or content.n >= header.next_n:
                torn += content is None
                self._slots.free(slot)
                continue
            judgement = self._judgement(content)
            self._taken[content.n, judgement.pipeline] = slot
            (answered if content.answer else unanswered).append(judgement)
        return Recovery(tuple(sorted(answered, key=_n)), tuple(sorted(unanswered, key=_n)), next_n, torn=torn)

    def _judgement(self, content: ring.Content) -> Judgement:
        taken, answer = self._contexts.read(content.context), content.answer
        texts = content.texts if answer is None else answer.texts
        part, product, lot = texts
        named = part or ("" if content.number is None else str(content.number))
        at = (content.at_us, content.mono_us)
        trigger = Trigger(self._header.epoch, content.n, *at, named, product, lot, content.number)
        if answer is None:
            return Judgement(trigger, taken.pipeline, taken, Verdict.UNINSPECTED, Reason.INTERRUPTED, None, 0)
        context = self._contexts.read(answer.context)
        verdict, reason = Verdict(answer.verdict), Reason(answer.reason)
        return Judgement(trigger, taken.pipeline, context, verdict, reason, answer.score, answer.latency_us)


def _n(judgement: Judgement) -> int:
    return judgement.trigger.n
