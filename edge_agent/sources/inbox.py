"""What is heard by one thread waits here for another to take it.

Bounded: the newest push out the oldest, and that is counted.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """A queue that loses nothing without a count. Safe to use from every thread."""

    def __init__(self, limit: int, counts: Callable[[T], int] = lambda _item: 1) -> None:
        """`counts` says for how many a thing counts that was pushed out; 0 where somebody else notices."""
        self._limit = limit
        self._counts = counts
        self._items: deque[T] = deque()
        self._lost = 0
        self._lock = threading.Lock()

    def put(self, item: T) -> None:
        """Add the newest."""
        with self._lock:
            if len(self._items) >= self._limit:
                self._lost += self._counts(self._items.popleft())
            self._items.append(item)

    def take(self) -> T | None:
        """The oldest, or None."""
        with self._lock:
            return self._items.popleft() if self._items else None

    def settle(self, most: int) -> int:
        """How many were pushed out and not spoken of yet, at most so many; these are spoken of now."""
        with self._lock:
            settled = min(self._lost, most)
            self._lost -= settled
            return settled

    def __bool__(self) -> bool:
        """Whether there is something to take or to speak of."""
        with self._lock:
            return bool(self._items) or self._lost > 0
