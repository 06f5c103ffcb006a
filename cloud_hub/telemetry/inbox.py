"""The queue between the link's thread and the receiver's: bounded in bytes, so a flood costs messages, not memory."""

import threading
from collections import deque
from typing import NamedTuple


class Letter(NamedTuple):
    """A message as it came. One that was too large is here without its payload, so that it can be told."""

    topic: str
    payload: bytes
    size: int


class Inbox:
    """Letters that wait. One that does not fit is refused: its gateway sends it again, for nobody has receipted it."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._letters: deque[Letter] = deque()
        self._bytes = 0
        self._changed = threading.Condition()

    def put(self, letter: Letter) -> bool:
        """Take a letter, or answer False when there is no room."""
        size = len(letter.topic) + len(letter.payload)
        with self._changed:
            if self._bytes + size > self._max_bytes:
                return False
            self._letters.append(letter)
            self._bytes += size
            self._changed.notify()
            return True

    def take(self, limit: int, wait_s: float) -> list[Letter]:
        """Up to `limit` letters in the order they came; none when nothing comes within `wait_s`."""
        with self._changed:
            if not self._letters:
                self._changed.wait(wait_s)
            taken = [self._letters.popleft() for _ in range(min(limit, len(self._letters)))]
            self._bytes -= sum(len(letter.topic) + len(letter.payload) for letter in taken)
            return taken

    def __len__(self) -> int:
        return len(self._letters)
