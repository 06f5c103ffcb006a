"""Objects that are wanted come in as blocks, one object at a time: asked for by offset, asked again when nothing comes.

Blocks are not signed and may come twice, late or forged: only the digest of the whole is believed.
"""

from collections.abc import Callable, Collection, Mapping

from edge_agent.clock import Clock
from edge_agent.updates.ledger import Problem
from edge_agent.updates.objects import Objects
from edge_protocol.messages import MAX_WANT_BYTES, Block, Want
from edge_protocol.updates import UpdateRefused

SILENCE_US = (3_000_000, 10_000_000, 30_000_000, 60_000_000)
"""How long to wait for blocks before they are asked for again."""

OFFLINE_US = 1_000_000
ABSENT_US = 20_000_000
"""Until an object that the hub does not have is asked for again."""


class Download:
    """What is being fetched. Belongs to one thread."""

    def __init__(self, objects: Objects, send: Callable[[Want], bool], clock: Clock) -> None:
        """`send` hands a message to the link and answers whether that took it."""
        self._objects = objects
        self._send = send
        self._clock = clock
        self._wanted: dict[str, int] = {}
        self._failed: dict[str, Problem] = {}
        self._asked = 0
        self._silences = 0
        self._due_us = 0
        self.received_bytes = 0

    def ask(self, files: Mapping[str, int]) -> None:
        """Fetch these, lengths by digest, after what is asked for already."""
        for sha256, length in files.items():
            self._failed.pop(sha256, None)
            if not self._objects.has(sha256):
                self._wanted.setdefault(sha256, length)
        if not any(self._is_current(sha256) for sha256 in self._wanted):
            self._next()

    def drop(self, files: Collection[str]) -> None:
        """Fetch these no more."""
        was_current = any(map(self._is_current, files))
        for sha256 in files:
            self._wanted.pop(sha256, None)
        if was_current:
            self._next()

    def problem(self, files: Collection[str]) -> Problem | None:
        """Why one of `files` cannot be had."""
        return next((self._failed[sha256] for sha256 in files if sha256 in self._failed), None)

    def hurry(self) -> None:
        """The connection is new: what was asked for is asked again now."""
        self._silences, self._due_us = 0, 0

    def step(self) -> bool:
        """Ask for what is due; whether anything was."""
        now_us = self._clock.mono_us()
        if not self._wanted or now_us < self._due_us:
            return False
        sha256, length = next(iter(self._wanted.items()))
        offset = self._objects.offset(sha256, length)
        if offset == length:  # whole before a restart, but for the check; or a file of nothing
            self._finish(sha256)
            return True
        size = min(MAX_WANT_BYTES, length - offset)
        if not self._send(Want(sha256=sha256, offset=offset, length=size)):
            self._due_us = now_us + OFFLINE_US
            return False
        self._asked = offset + size
        self._due_us = now_us + SILENCE_US[min(self._silences, len(SILENCE_US) - 1)]
        self._silences += 1
        return True

    def take(self, block: Block) -> None:
        """Work in a block; what was not asked for is nothing."""
        length = self._wanted.get(block.sha256)
        if length is None or not self._is_current(block.sha256):
            return
        if block.total == 0:
            self._due_us = self._clock.mono_us() + ABSENT_US
            return
        try:
            if block.total != length or not self._objects.write(block.sha256, length, block.offset, block.data):
                return
        except UpdateRefused as refused:
            self._fail(block.sha256, refused)
            return
        self.received_bytes += len(block.data)
        self._silences = 0
        offset = self._objects.offset(block.sha256, length)
        if offset == length:
            self._finish(block.sha256)
        elif offset >= self._asked:
            self._due_us = 0
        else:
            self._due_us = self._clock.mono_us() + SILENCE_US[0]

    def _is_current(self, sha256: str) -> bool:
        return next(iter(self._wanted), "") == sha256

    def _finish(self, sha256: str) -> None:
        try:
            if self._objects.finish(sha256):
                del self._wanted[sha256]
        except UpdateRefused as refused:
            self._fail(sha256, refused)
        self._next()

    def _fail(self, sha256: str, refused: UpdateRefused) -> None:
        self._failed[sha256] = Problem(refused.refusal, refused.detail)
        self._wanted.pop(sha256, None)
        self._next()

    def _next(self) -> None:
        self._asked, self._silences, self._due_us = 0, 0, 0
