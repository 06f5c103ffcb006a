"""One neighbour's connection: requests come in one after the other, each gets its answer before the next is read.

A body is read only when its length is allowed and memory for it is free. Never waits for a silent neighbour for long.
"""

import logging
import socket
import struct
import threading
from contextlib import suppress
from http import HTTPStatus
from time import monotonic
from typing import Any, Protocol

from edge_agent.serving.http import MAX_HEAD_BYTES, Head, Reply, head_bytes, parse_head, refused, whole_number
from edge_agent.serving.refusal import Refusal

READ_S = 10
"""A head that goes on for longer, or a body, is given up, and so is a neighbour that does not read."""

IDLE_S = 3 * READ_S
"""A connection that asks nothing for this long is closed."""

KEPT_BYTES = 2**20
"""A body's memory up to here is kept for the next one."""

ALIGNED = 16
"""Where the tensors behind a request's JSON begin: a multiple of this, as memory itself does."""

_DRAIN_BYTES = 2**26
_LINES = b"\r\n\r\n"
_INFERENCE_HEADER = "inference-header-content-length"
_WAITALL = socket.MSG_WAITALL

log = logging.getLogger(__name__)


class Site(Protocol):
    """Who answers."""

    def room(self, head: Head) -> int:
        """How long the body of this request may be. Raises Refusal: it is not answered at all."""

    def reply(self, head: Head, body: memoryview) -> Reply:
        """The answer. Raises Refusal; `body` is valid until it returns."""


class Budget:
    """Bytes that all bodies together may take."""

    def __init__(self, free_bytes: int) -> None:
        self._free = free_bytes
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        """Take some; False when there are not so many."""
        with self._lock:
            if count > self._free:
                return False
            self._free -= count
            return True

    def give(self, count: int) -> None:
        """Give them back."""
        with self._lock:
            self._free += count


class Connection:
    """A socket that was accepted. `serve` belongs to one thread; `is_idle` and `close` may be asked by another."""

    def __init__(self, sock: socket.socket, site: Site, budget: Budget) -> None:
        self._socket = sock
        self._site = site
        self._budget = budget
        self._rest = b""
        self._body = bytearray()
        self.is_idle = True

    def serve(self) -> None:
        """Answer until the neighbour leaves, is silent for too long, or is not understood."""
        with self._socket, suppress(OSError):
            if self._socket.family != socket.AF_UNIX:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Time limits of the kernel's: a socket with Python's own polls before each call, and cannot wait for all.
            self._socket.settimeout(None)
            self._limit(socket.SO_SNDTIMEO, READ_S)
            self._limit(socket.SO_RCVTIMEO, READ_S)
            while self._answer_one():
                pass
            self._linger()

    def close(self) -> None:
        """End it from another thread."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _answer_one(self) -> bool:
        """Whether there may be another request."""
        head: Head | None = None
        try:
            raw = self._read_head()
            if raw is None:
                return False
            head = parse_head(raw)
            taken, reply = self._reply(head)
            keeps = head.keeps and taken
        except Refusal as refusal:
            reply, keeps = refused(refusal), False
        self._send(reply, keeps=keeps, with_body=head is None or head.method != "HEAD")
        return keeps

    def _reply(self, head: Head) -> tuple[bool, Reply]:
        """Whether the request was read to its end, and the answer."""
        is_read = head.length == 0
        try:
            self._admit(head)
            try:
                body = self._read_body(head)
                is_read = True
                return True, self._site.reply(head, body)
            finally:
                self._budget.give(head.length)
        except Refusal as refusal:
            return is_read and not refusal.closes, refused(refusal)

    def _admit(self, head: Head) -> None:
        room = self._site.room(head)
        if head.length > room:
            message = f"the body has {head.length} bytes, the longest that is taken here has {room}"
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, "send tensors as binary")
        if not self._budget.take(head.length):
            retry = (("Retry-After", "1"),)
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "others are sending long bodies", "later", headers=retry)

    def _read_head(self) -> bytes | None:
        """The next head, or None when there is none to come."""
        content = self._rest.lstrip(b"\r\n")
        self.is_idle = not content
        patience, begun_s = IDLE_S // READ_S, monotonic()
        while (end := content.find(_LINES)) < 0 and len(content) <= MAX_HEAD_BYTES:
            try:
                more = self._socket.recv(MAX_HEAD_BYTES)
            except BlockingIOError:
                patience -= 1
                if content or patience <= 0:
                    return None
                continue
            if not content:
                begun_s = monotonic()
            if not more or monotonic() - begun_s > READ_S:
                return None
            # An empty line before a request is an old client's way to end the last one.
            content = (content + more).lstrip(b"\r\n")
            self.is_idle = not content
        if not 0 <= end <= MAX_HEAD_BYTES:
            message = f"the head is longer than {MAX_HEAD_BYTES} bytes"
            raise Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, message, closes=True)
        self._rest = content[end + len(_LINES) :]
        return content[:end]

    def _read_body(self, head: Head) -> memoryview:
        if head.expects and not self._rest:
            self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        # The JSON in front ends where the tensors, which are used where they lie, begin aligned.
        shift = -(whole_number(head.fields, _INFERENCE_HEADER) or 0) % ALIGNED
        if len(self._body) < shift + head.length:
            self._body = bytearray(max(shift + head.length, min(KEPT_BYTES, 2 * len(self._body))))
        whole = memoryview(self._body)[shift : shift + head.length]
        if head.length + ALIGNED > KEPT_BYTES:
            self._body = bytearray()
        begun = self._rest[: head.length]
        self._rest = self._rest[len(begun) :]
        whole[: len(begun)] = begun
        at = len(begun)
        # One call: the kernel's time limit is then that of the whole body, however slowly it comes.
        with suppress(BlockingIOError):
            at += self._socket.recv_into(whole[at:], head.length - at, _WAITALL) if at < head.length else 0
        if at < head.length:
            message = f"the body ends after {at} of {head.length} bytes"
            raise Refusal(HTTPStatus.REQUEST_TIMEOUT, message, closes=True)
        return whole

    def _send(self, reply: Reply, *, keeps: bool, with_body: bool) -> None:
        parts: list[Any] = [memoryview(head_bytes(reply, keeps=keeps))]
        if with_body:
            parts += [memoryview(part).cast("B") for part in reply.body if memoryview(part).nbytes]
        while parts:
            sent = self._socket.sendmsg(parts)
            while parts and sent >= parts[0].nbytes:
                sent -= parts.pop(0).nbytes
            if parts and sent:
                parts[0] = parts[0][sent:]

    def _linger(self) -> None:
        """Read what is still coming for a moment: who closes on unread bytes takes the answer back."""
        self._socket.shutdown(socket.SHUT_WR)
        self._limit(socket.SO_RCVTIMEO, 1)
        left, until_s = _DRAIN_BYTES, monotonic() + READ_S
        while left > 0 and monotonic() < until_s and (got := self._socket.recv(65536)):
            left -= len(got)

    def _limit(self, option: int, seconds: int) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", seconds, 0))
