"""Verdicts leave by HTTP POST, in order, each tried again until it is taken, refused for good, or too old.

A thread of its own sends: who tells the line never waits. What is under way has no outcome yet; each verdict gets one,
when it is known, and `ok` only when the other side said so. What a kill left without one is sent again.
"""

import random
import threading
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from time import monotonic, perf_counter

from edge_agent.errors import ConfigError, OutputError
from edge_agent.judgement import Judgement
from edge_agent.outputs.output import Letter, letter, outcome, outcome_of
from edge_agent.outputs.webhook import Webhook
from edge_agent.settings import HttpOutput as Settings
from edge_agent.settings.bearer import read_token
from edge_protocol.messages import Outcome

_LEAST_PAUSE_S = 0.25
CLOSE_S = 1.5
"""How long `close` lets the rest be sent; what is left then was not told, and its outcomes say so."""

UNKNOWN = "the agent ended before it was on record"
"""What became of a letter that an earlier process has left."""


@dataclass(slots=True)
class _Errand:
    """A letter on its way."""

    letter: Letter
    began_s: float
    attempts: int = 0
    problem: str = ""


class HttpOutput:
    """A URL that is told each verdict."""

    def __init__(self, settings: Settings, webhook: Webhook, gateway: str) -> None:
        self.name = settings.name
        self.after_commit = settings.after_commit
        self._settings = settings
        self._webhook = webhook
        self._gateway = gateway
        self._errands: deque[_Errand] = deque()
        self._outcomes: deque[Outcome] = deque()
        self._changed = threading.Condition()
        self._end_s: float | None = None
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Begin to send. Another side that is away is no error: the outcomes say so.

        Raises:
            OutputError: the token's file cannot be used.
        """
        if self._settings.token_file is not None:
            try:
                read_token(self._settings.token_file, f"output {self.name!r}")
            except ConfigError as error:
                raise OutputError(str(error), error.hint) from error
        self._thread = threading.Thread(target=self._run, name=f"http-{self.name}", daemon=True)
        self._thread.start()

    def send(self, judgement: Judgement) -> Outcome | None:
        """Queue the verdict. A full queue is a failure now; anything else is known later."""
        began_s = perf_counter()
        with self._changed:
            if self._end_s is not None:
                return outcome(self.name, judgement, began_s, "the agent is stopping")
            if len(self._errands) >= self._settings.queue:
                return outcome(self.name, judgement, began_s, f"{len(self._errands)} verdicts wait already")
            self._errands.append(_Errand(letter(self.name, judgement), began_s))
            self._changed.notify_all()
        return None

    def resume(self, owed: Sequence[Letter]) -> None:
        """Send what a process before this one may have sent, and does not know: first of all, and as if it were new."""
        with self._changed:
            began_s = perf_counter()
            self._errands.extend(_Errand(each, began_s, problem=UNKNOWN) for each in owed)
            self._changed.notify_all()

    def settled(self) -> Sequence[Outcome]:
        """What has become known since the last call."""
        with self._changed:
            known = tuple(self._outcomes)
            self._outcomes.clear()
        return known

    def beat(self, mono_us: int, alive: Collection[str]) -> None:  # noqa: ARG002 (the seam's)
        """A URL has nobody who waits for a sign of life; an attempt that lasts too long is ended here."""
        self._webhook.limit()

    def close(self) -> None:
        """Send what is left, for a moment; then each verdict that was not taken has failed."""
        with self._changed:
            if self._end_s is None:
                self._end_s = monotonic() + CLOSE_S
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(CLOSE_S)
            self._webhook.interrupt()
            self._thread.join(CLOSE_S)
        with self._changed:
            # A thread that waits for a connection cannot be hurried: what it holds was not told, as far as we know.
            for errand in self._errands:
                self._outcomes.append(self._outcome(errand, f"the agent stopped; {errand.problem or 'no answer yet'}"))
            self._errands.clear()

    def _run(self) -> None:
        while (errand := self._next()) is not None and not self._is_over():
            self._deliver(errand)
        self._webhook.close()

    def _next(self) -> _Errand | None:
        """The oldest errand, once there is one; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._errands or self._end_s is not None)
            return self._errands[0] if self._errands else None

    def _deliver(self, errand: _Errand) -> None:
        """Try until it is settled. It stays in the queue meanwhile: whoever comes after it waits."""
        while True:
            if self._is_over():
                return
            if perf_counter() - errand.began_s > self._settings.give_up_s:
                cause = errand.problem or "its turn never came"
                self._settle(errand, f"given up after {errand.attempts} attempts: {cause}")
                return
            answer = self._webhook.post(errand.letter.body, self._key(errand.letter))
            errand.attempts += 1
            if not answer.problem or not answer.retry:
                self._settle(errand, answer.problem)
                return
            errand.problem = answer.problem
            self._rest(max(answer.after_s, self._pause_s(errand.attempts)), errand)

    def _settle(self, errand: _Errand, problem: str) -> None:
        with self._changed:
            if self._errands and self._errands[0] is errand:
                self._errands.popleft()
                self._outcomes.append(self._outcome(errand, problem))

    def _outcome(self, errand: _Errand, problem: str) -> Outcome:
        remark = f"taken at attempt {errand.attempts}; before: {errand.problem}" if errand.problem else ""
        return outcome_of(errand.letter, errand.began_s, problem, remark)

    def _key(self, letter: Letter) -> str:
        return f"{self._gateway}-{letter.epoch}-{letter.trigger}-{letter.pipeline}"

    def _rest(self, pause_s: float, errand: _Errand) -> None:
        """Wait before the next attempt; no longer than the letter may live, and not at all at the end."""
        left_s = self._settings.give_up_s - (perf_counter() - errand.began_s)
        with self._changed:
            self._changed.wait_for(lambda: self._end_s is not None, max(0.0, min(pause_s, left_s)))
            is_ending = self._end_s is not None
        if is_ending:
            threading.Event().wait(_LEAST_PAUSE_S)

    def _pause_s(self, attempts: int) -> float:
        longest = min(self._settings.backoff_s, _LEAST_PAUSE_S * 2.0 ** min(attempts, 16))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 (jitter)

    def _is_over(self) -> bool:
        with self._changed:
            return self._end_s is not None and monotonic() > self._end_s
