"""Remembers dear answers for a while, so that a hundred open pages cost the database what one costs."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeVar, cast

T = TypeVar("T")

REST = 9
"""An answer is kept at least this many times as long as it took to make: looking never takes more than a tenth."""


@dataclass(slots=True)
class _Entry:
    until_s: float = float("-inf")
    value: object = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Memo:
    """Answers by key, each made by one thread while others wait for it. `mono_s` is monotonic time in seconds."""

    def __init__(self, mono_s: Callable[[], float], size: int = 512) -> None:
        self._mono_s = mono_s
        self._size = size
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many answers are kept."""
        return len(self._entries)

    def get(self, key: Hashable, fresh_s: float, make: Callable[[], T]) -> T:
        """The answer under `key` if it is younger than `fresh_s`, else a new one; what `make` raises is not kept."""
        entry = self._entry(key)
        with entry.lock:
            began_s = self._mono_s()
            if began_s >= entry.until_s:
                entry.value = make()
                now_s = self._mono_s()
                entry.until_s = now_s + max(fresh_s, REST * (now_s - began_s))
            return cast("T", entry.value)

    def _entry(self, key: Hashable) -> _Entry:
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)
            return entry
