"""The agent's threads by name. One that ends by an error is noted, and then the agent stops."""

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

log = logging.getLogger(__name__)

JOIN_S = 10.0


class Crew:
    """Threads that were started and how they ended."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self._pulses: dict[str, float] = {}
        self._threads: dict[str, list[threading.Thread]] = {}

    def start(self, watch: str, name: str, work: Callable[[], None], *, nice: int = 0) -> None:
        """Begin `work` on a thread called `name`, one of those that `join(watch)` waits for.

        `nice`: how much further than the process it gives way when processors are short, as `nice` of the shell.
        """

        def guarded() -> None:
            try:
                if nice:
                    yield_to_others(nice)
                work()
            except Exception as error:  # a thread that dies silently is a line that stands still
                log.exception("%s ended", name)
                self.failures.append(f"{name} ended: {error}")

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads.setdefault(watch, []).append(thread)
        thread.start()

    def pulse(self, name: str) -> None:
        """The thread called `name` is at work, or has nothing to do and knows it."""
        self._pulses[name] = monotonic()

    def silent(self, limit_s: float) -> list[str]:
        """Those that have given a pulse once, and none for `limit_s`: they hang."""
        before = monotonic() - limit_s
        return [name for name, at in list(self._pulses.items()) if at < before]

    def join(self, watch: str) -> None:
        """Wait for the threads of one watch; one that does not end in `JOIN_S` is left behind."""
        for thread in self._threads.get(watch, ()):
            thread.join(JOIN_S)
            if thread.is_alive():
                self.failures.append(f"{thread.name} did not end within {JOIN_S:.0f} s")


def yield_to_others(nice: int) -> None:
    """Let the calling thread, and no other, give way so much further. Where threads have no priority: nothing."""
    with suppress(OSError):
        # From where the process stands: an absolute number would overtake the others where it was started as nice.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + nice)
