"""What is heard by one thread waits here for another to take it.

Bounded in number and in bytes: the newest push out the oldest, and that is counted.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_BYTES = 64 * 2**20
"""What may wait of one source, whatever the number of its messages."""


class Inbox(Generic[T]):
    """A queue that loses nothing without a count. Safe to use from every thread."""

    def __init__(
        self,
        limit: int,
        counts: Callable[[T], int] = lambda _item: 1,
        *,
        size_bytes: Callable[[T], int] = lambda _item: 0,
    ) -> None:
        """`counts` says for how many a thing counts that was pushed out; 0 where somebody else notices."""
        self._limit = limit
        self._counts = counts
        self._size_bytes = size_bytes
        self._bytes = 0
        self._items: deque[T] = deque()
        self._lost = 0
        self._lock = threading.Lock()

    def put(self, item: T) -> None:
        """Add the newest."""
        size = self._size_bytes(item)
        with self._lock:
            while self._items and (len(self._items) >= self._limit or self._bytes + size > MAX_BYTES):
                self._lost += self._counts(self._take())
            self._items.append(item)
            self._bytes += size

    def take(self) -> T | None:
        """The oldest, or None."""
        with self._lock:
            return self._take() if self._items else None

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

    def _take(self) -> T:
        item = self._items.popleft()
        self._bytes -= self._size_bytes(item)
        return item
