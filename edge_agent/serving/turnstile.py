"""One question to a model at a time for the whole gateway: neighbours wait for each other, the line for none."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from edge_agent.serving.refusal import Refusal

WAIT_S = 2.0
"""Longest a question waits for its turn."""


class Turnstile:
    """Lets one through, in the order they came. That threads give way bounds time; this bounds memory and cache."""

    def __init__(self, wait_s: float = WAIT_S) -> None:
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._is_taken = False
        self._waiting: deque[threading.Lock] = deque()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """A turn.

        Raises:
            Refusal: 503: there was none in time.
        """
        if not self._enter():
            message = f"other neighbours' questions took all of {self._wait_s:g} s"
            headers = (("Retry-After", "1"),)
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, message, "ask again, less often", headers=headers)
        try:
            yield
        finally:
            self._leave()

    def _enter(self) -> bool:
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return True
            gate = threading.Lock()
            gate.acquire()
            self._waiting.append(gate)
        if gate.acquire(timeout=self._wait_s):
            return True
        with self._lock:
            if gate not in self._waiting:  # It was opened in this very moment: the turn is ours.
                return True
            self._waiting.remove(gate)
            return False

    def _leave(self) -> None:
        """The turn goes to who has waited longest, and is never free in between."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_taken = False
