"""Faults begin and end: each change becomes one event, however often it is told. What is wrong now can be asked."""

import threading
from collections.abc import Callable, Collection

from edge_agent.judgement import Judgement
from edge_protocol.codes import Reason, Stream, Verdict
from edge_protocol.messages import AnyRecord, Fault


class Faults:
    """What is wrong with the parts of the agent and around it. Safe to use from every thread."""

    def __init__(self, record: Callable[[Stream, AnyRecord], None]) -> None:
        self._record = record
        self._active: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    def tell(self, part: str, reason: str, *, active: bool, detail: str = "") -> None:
        """`part` is at fault for `reason`, or no longer."""
        with self._lock:
            if ((part, reason) in self._active) is active:
                return
            if active:
                self._active[part, reason] = detail
            else:
                del self._active[part, reason]
        name, _, rest = part.partition(" ")
        self._record(Stream.EVENTS, Fault(part=name, name=rest, reason=reason, active=active, detail=detail[:500]))

    def active(self) -> list[str]:
        """What is wrong now, in words."""
        with self._lock:
            return [f"{part}: {reason} {detail}".rstrip() for (part, reason), detail in self._active.items()]


RECOVERED_AFTER = 20
"""Judged parts in a row after which an input counts as sound again: a flickering camera is one fault, not hundreds."""


class InputFaults:
    """Verdicts that could not be judged become faults of their pipeline, and end when it judges again."""

    def __init__(self, faults: Faults, sampled: Collection[str] = ()) -> None:
        """`sampled`: pipelines that pass parts over because they shall; that is no fault of theirs."""
        self._faults = faults
        self._sampled = sampled
        self._open: dict[str, set[str]] = {}
        self._sound: dict[str, int] = {}

    def add(self, judgement: Judgement) -> None:
        """Look at one judgement. Belongs to one thread."""
        name = judgement.pipeline
        if judgement.reason is Reason.SKIPPED and name in self._sampled:
            return
        if judgement.verdict is Verdict.UNINSPECTED:
            reason = judgement.reason.name.lower().replace("_", "-")
            self._sound[name] = 0
            self._open.setdefault(name, set()).add(reason)
            self._faults.tell(f"pipeline {name}", reason, active=True, detail=judgement.detail)
            return
        if not self._open.get(name):
            return
        self._sound[name] = self._sound.get(name, 0) + 1
        if self._sound[name] >= RECOVERED_AFTER:
            for reason in self._open.pop(name):
                self._faults.tell(f"pipeline {name}", reason, active=False)
