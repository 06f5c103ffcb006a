"""What the parts of a running hub share with its pages: database, time, counters. No behaviour of its own."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Engine

from cloud_hub.clock import Clock
from cloud_hub.config import Config
from cloud_hub.storage.database import Database


class Tally:
    """Counters by name, for `/metrics`. They start at zero with the process; what must last is in the database."""

    def __init__(self) -> None:
        self._values: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str, n: int = 1) -> None:
        """Count `n` more of `name`."""
        with self._lock:
            self._values[name] += n

    def values(self) -> dict[str, int]:
        """All counters as they are now."""
        with self._lock:
            return dict(self._values)


@dataclass(frozen=True, slots=True)
class HubContext:
    """What the web pages are made from."""

    database: Database
    clock: Clock
    owner_token: str
    config: Config
    tally: Tally = field(default_factory=Tally)
    ready: Callable[[], str] = lambda: ""
    """What keeps the hub from working, in one sentence; empty when nothing does."""

    @property
    def engine(self) -> Engine:
        """The database's engine. Reading only: what writes goes through `database.writing()`."""
        return self.database.engine
