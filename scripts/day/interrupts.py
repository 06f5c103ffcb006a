"""Ctrl-C and the signals that ask to end become one KeyboardInterrupt, at moments at which it loses nothing."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Raises KeyboardInterrupt when a signal comes; inside `held`, at its end."""

    def __init__(self) -> None:
        self._holds = 0
        self._came = False

    def listen(self) -> None:
        """From now on signals arrive here."""
        for number in SIGNALS:
            signal.signal(number, lambda _number, _frame: self.arrive())

    def arrive(self) -> None:
        """A signal has come."""
        if self._holds:
            self._came = True
        else:
            raise KeyboardInterrupt

    def ignore(self) -> None:
        """From now on signals change nothing: the end is under way."""
        self._holds += 1

    @contextmanager
    def held(self) -> Iterator[None]:
        """What is done here is done to its end."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
        if self._came and not self._holds:
            self._came = False
            raise KeyboardInterrupt
