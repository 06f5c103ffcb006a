"""One question to a model at a time for the whole gateway: neighbours wait for each other, the line for none."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from edge_agent.serving.refusal import Refusal

WAIT_S = 2.0
"""Longest a question waits for its turn."""


class Turnstile:
    """Lets one through. Its threads have a low priority of their own; this bounds memory and cache, not only time."""

    def __init__(self, wait_s: float = WAIT_S) -> None:
        self._wait_s = wait_s
        self._lock = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """A turn.

        Raises:
            Refusal: 503: there was none in time.
        """
        if not self._lock.acquire(timeout=self._wait_s):
            message = f"other neighbours' questions took all of {self._wait_s:g} s"
            headers = (("Retry-After", "1"),)
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, message, "ask again, less often", headers=headers)
        try:
            yield
        finally:
            self._lock.release()
