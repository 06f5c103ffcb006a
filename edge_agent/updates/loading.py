"""A model is loaded beside the line, on a thread that yields to those that judge: slot in, warm model out.

One at a time. Never swaps anything.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path

from edge_agent.errors import InferenceError
from edge_agent.inference.cache import Cache
from edge_agent.inference.model import Model

NICE = 10
"""Low, but it still gets its turn: a thread that never ran while holding the interpreter's lock would stop the line."""


class Loading:
    """A load under way. Made by starting it."""

    def __init__(self, slot: Path, *, variant: str, cache: Cache) -> None:
        self.model: Model | None = None
        self.problem = ""
        self._slot = slot
        self._variant = variant
        self._cache = cache
        self._thread = threading.Thread(target=self._load, name="load", daemon=True)
        self._thread.start()

    def poll(self) -> bool:
        """Whether it has ended: with a model, or with the problem why there is none."""
        return not self._thread.is_alive()

    def _load(self) -> None:
        with suppress(OSError):  # of Linux: a thread has a priority of its own, and takes it along when it ends
            own = os.getpriority(os.PRIO_PROCESS, 0)
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), own + NICE)
        try:
            self.model = Model.load(self._slot, variant=self._variant or None, cache=self._cache)
        except InferenceError as error:
            self.problem = str(error)
        except Exception as error:  # noqa: BLE001 (whatever a bad release does, the line goes on with what it has)
            self.problem = f"{type(error).__name__}: {error}"
