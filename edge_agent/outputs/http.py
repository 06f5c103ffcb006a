"""Verdicts leave by HTTP POST, in order, each tried again until it is taken, refused for good, or too old.

A thread of its own sends: who tells the line never waits. What is under way has no outcome yet; each verdict gets one,
when it is known, and `ok` only when the other side said so.
"""

import random
import threading
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from time import monotonic, perf_counter

from edge_agent.errors import OutputError
from edge_agent.judgement import Judgement
from edge_agent.outputs.output import outcome
from edge_agent.outputs.telegram import telegram
from edge_agent.outputs.webhook import Webhook, read_token
from edge_agent.settings import HttpOutput as Settings
from edge_protocol.messages import Outcome

_LEAST_PAUSE_S = 0.25
CLOSE_S = 1.5
"""How long `close` lets the rest be sent; what is left then was not told, and its outcomes say so."""


@dataclass(slots=True)
class _Letter:
    """A verdict on its way."""

    judgement: Judgement
    body: bytes
    key: str
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
        self._letters: deque[_Letter] = deque()
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
                read_token(self._settings.token_file)
            except ValueError as error:
                message = f"output {self.name!r}: {error}"
                raise OutputError(
                    message, "let the agent read the file; it holds the token and nothing else"
                ) from error
        self._thread = threading.Thread(target=self._run, name=f"http-{self.name}", daemon=True)
        self._thread.start()

    def send(self, judgement: Judgement) -> Outcome | None:
        """Queue the verdict. A full queue is a failure now; anything else is known later."""
        trigger, began_s = judgement.trigger, perf_counter()
        key = f"{self._gateway}-{trigger.epoch}-{trigger.n}-{judgement.pipeline}"
        with self._changed:
            if self._end_s is not None:
                return outcome(self.name, judgement, began_s, "the agent is stopping")
            if len(self._letters) >= self._settings.queue:
                return outcome(self.name, judgement, began_s, f"{len(self._letters)} verdicts wait already")
            self._letters.append(_Letter(judgement, telegram(judgement), key, began_s))
            self._changed.notify_all()
        return None

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
            for letter in self._letters:
                self._outcomes.append(self._outcome(letter, f"the agent stopped; {letter.problem or 'no answer yet'}"))
            self._letters.clear()

    def _run(self) -> None:
        while (letter := self._next()) is not None and not self._is_over():
            self._deliver(letter)
        self._webhook.close()

    def _next(self) -> _Letter | None:
        """The oldest letter, once there is one; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._letters or self._end_s is not None)
            return self._letters[0] if self._letters else None

    def _deliver(self, letter: _Letter) -> None:
        """Try until it is settled. It stays in the queue meanwhile: whoever comes after it waits."""
        while True:
            if self._is_over():
                return
            if perf_counter() - letter.began_s > self._settings.give_up_s:
                cause = letter.problem or "its turn never came"
                self._settle(letter, f"given up after {letter.attempts} attempts: {cause}")
                return
            answer = self._webhook.post(letter.body, letter.key)
            letter.attempts += 1
            if not answer.problem or not answer.retry:
                self._settle(letter, answer.problem)
                return
            letter.problem = answer.problem
            self._rest(max(answer.after_s, self._pause_s(letter.attempts)), letter)

    def _settle(self, letter: _Letter, problem: str) -> None:
        with self._changed:
            if self._letters and self._letters[0] is letter:
                self._letters.popleft()
                self._outcomes.append(self._outcome(letter, problem))

    def _outcome(self, letter: _Letter, problem: str) -> Outcome:
        remark = f"taken at attempt {letter.attempts}; before: {letter.problem}" if letter.problem else ""
        return outcome(self.name, letter.judgement, letter.began_s, problem, remark)

    def _rest(self, pause_s: float, letter: _Letter) -> None:
        """Wait before the next attempt; no longer than the letter may live, and not at all at the end."""
        left_s = self._settings.give_up_s - (perf_counter() - letter.began_s)
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
