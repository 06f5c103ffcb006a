"""HTTP requests come in, parts go to a queue, and each request is answered with what became of its part.

Bodies, connections and waiting times are bounded, and no answer promises more than is so. Never judges or keeps.
"""

import hmac
import logging
import socket
import socketserver
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import msgspec

from edge_agent.clock import system_mono_us
from edge_agent.sample import Sample, Trigger
from edge_agent.settings.checks import is_here
from edge_agent.sources.payload import MAX_TEXT, Form, read
from edge_protocol.codes import Reason, Verdict

MAX_CONNECTIONS = 32
MAX_WAIT_MS = 60_000
_POLL_S = 0.05
_IDLE_S = 5.0
"""A connection that is silent for so long is closed, so that nobody holds one for nothing."""

_BODY_S = 10.0
_LARGE_BYTES = 256 * 1024
MAX_LARGE = 4
"""Bodies above `_LARGE_BYTES` that are taken in at the same time: what senders fill of the memory has an end."""

_CLOSE_S = 2.0
_CHUNK_BYTES = 64 * 1024

CONTENT = {
    "application/json": "json",
    "application/x-npy": "npy",
    "application/octet-stream": "float32",
    "image/png": "image",
    "image/jpeg": "image",
}
"""What a body may be, and how it is read."""

_log = logging.getLogger(__name__)


class Ticket(Protocol):
    """A part on its way."""

    taken: threading.Event
    judged: threading.Event
    trigger: Trigger | None
    verdict: Verdict | None


class Desk(Protocol):
    """Where parts are handed in."""

    def offer(self, sample: Sample) -> Any:
        """A ticket; None when there is no room."""

    def withdraw(self, ticket: Any) -> bool:
        """Take a part back; False when a trigger has it."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is taken, and from whom: with a token only from who shows it."""

    path: str
    form: Form
    max_bytes: int
    take_s: float
    token: str
    now_us: Callable[[], int] = system_mono_us


class Refusal(Exception):
    """This request brings no part."""

    def __init__(self, status: HTTPStatus, hint: str) -> None:
        super().__init__(hint)
        self.status = status


class Reception(ThreadingHTTPServer):
    """Listens and answers from when it is made until it is closed."""

    daemon_threads = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, address: tuple[str, int], terms: Terms, desk: Desk) -> None:
        """Raises OSError: the address is in use, not this machine's, or not allowed."""
        self.terms = terms
        self.desk = desk
        self.closing = threading.Event()
        self.large = threading.BoundedSemaphore(MAX_LARGE)
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(_POLL_S,), name="reception", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.server_address[1])

    def close(self) -> None:
        """Listen no more, answer what is open, and end every connection."""
        self.closing.set()
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._changed:
            for connection in self._connections:
                _end_reading(connection)
            self._changed.wait_for(lambda: not self._connections, _CLOSE_S)

    def server_bind(self) -> None:
        """Bind without asking a name server who we are, as the parent does: offline that takes seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread, or turn it away."""
        with self._changed:
            is_welcome = len(self._connections) < MAX_CONNECTIONS
            if is_welcome:
                self._connections.add(request)
        if is_welcome:
            super().process_request(request, client_address)
            return
        try:
            request.sendall(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
        except OSError:
            _log.debug("%s did not wait to be turned away", client_address)
        self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        super().shutdown_request(request)
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def handle_error(self, _request: object, client_address: object) -> None:
        """Somebody who hangs up is no event."""
        _log.debug("connection of %s ended early", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: Reception
    protocol_version = "HTTP/1.1"
    server_version = "lineside"
    sys_version = ""
    timeout = _IDLE_S
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        try:
            self._check_sender()
            self._hand_in(self._read_sample(), self._wait_s())
        except Refusal as refusal:
            self._answer(refusal.status, {"error": refusal.status.phrase, "hint": str(refusal)})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the parent's name)
        _log.debug(format, *args)

    def _check_sender(self) -> None:
        terms = self.server.terms
        self.close_connection = True  # Until the body is read, what follows on this connection is no request.
        if terms.token:
            shown = self.headers.get("Authorization", "").removeprefix("Bearer ").strip()
            if not hmac.compare_digest(shown.encode("latin-1", "replace"), terms.token.encode()):
                raise Refusal(HTTPStatus.UNAUTHORIZED, "show the token as `Authorization: Bearer …`")
        elif not is_here(self.headers.get("Host", "localhost")):
            raise Refusal(HTTPStatus.FORBIDDEN, "send to 127.0.0.1 or localhost, or set `token_file`")
        if urlsplit(self.path).path != terms.path:
            raise Refusal(HTTPStatus.NOT_FOUND, f"parts are sent to {terms.path}")

    def _read_sample(self) -> Sample:
        terms = self.server.terms
        kind = CONTENT.get(self.headers.get_content_type())
        if kind is None:
            raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type is one of {', '.join(CONTENT)}")
        length = self._length(terms.max_bytes)
        is_large = length > _LARGE_BYTES
        if is_large and not self.server.large.acquire(timeout=_IDLE_S):
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_LARGE} large parts are being sent; send it again")
        try:
            body = self._read_exactly(length)
            self.close_connection = self.headers.get("Connection", "").lower() == "close"
            names, number = self._names(), self._number()
            # Still one of the few: the numbers in a text take several times its own memory.
            sample = read(kind, body, terms.form, terms.now_us())
        finally:
            if is_large:
                self.server.large.release()
        if sample.fault is not Reason.NONE:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, sample.detail)
        return replace(sample, **names, number=number if number is not None else sample.number)

    def _length(self, max_bytes: int) -> int:
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            raise Refusal(HTTPStatus.LENGTH_REQUIRED, "state the Content-Length")
        if not 0 < int(length[:20]) <= max_bytes:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"1 to {max_bytes} bytes are taken")
        return int(length)

    def _read_exactly(self, length: int) -> bytes:
        chunks, left, end_s = [], length, monotonic() + _BODY_S
        while left:
            chunk = self.rfile.read1(min(left, _CHUNK_BYTES))
            if not chunk or monotonic() > end_s:
                raise Refusal(HTTPStatus.REQUEST_TIMEOUT, f"{left} bytes of the body did not come")
            chunks.append(chunk)
            left -= len(chunk)
        return b"".join(chunks)

    def _names(self) -> dict[str, Any]:
        """Part, product and lot of the headers, those that are there."""
        found = {key: self.headers.get(f"Lineside-{key}") for key in ("part", "product", "lot")}
        names: dict[str, Any] = {
            key: text.encode("latin-1").decode("utf-8", "replace") for key, text in found.items() if text
        }
        if any(len(text) > MAX_TEXT for text in names.values()):
            raise Refusal(HTTPStatus.BAD_REQUEST, f"part, product and lot have at most {MAX_TEXT} characters")
        return names

    def _number(self) -> int | None:
        text = self.headers.get("Lineside-Number")
        if text is None:
            return None
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise Refusal(HTTPStatus.BAD_REQUEST, "Lineside-Number is a whole number")
        return int(text)

    def _wait_s(self) -> float:
        text = parse_qs(urlsplit(self.path).query).get("wait", ["0"])[0]
        if not text.isascii() or not text.isdigit() or int(text[:9]) > MAX_WAIT_MS:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"wait is 0 to {MAX_WAIT_MS} milliseconds")
        return int(text) / 1000

    def _hand_in(self, sample: Sample, wait_s: float) -> None:
        """Only what has a trigger is answered with 2xx; whatever else is answered has none and never gets one."""
        desk, part = self.server.desk, sample.part
        ticket = desk.offer(sample)
        del sample  # it is the queue's, then its trigger's
        if ticket is None:
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, "the queue is full; send the part again")
        if not self._await(ticket.taken, self.server.terms.take_s) and desk.withdraw(ticket):
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "no trigger took the part; send it again")
        ticket.taken.wait()
        self._await(ticket.judged, wait_s)
        told = {"epoch": ticket.trigger.epoch, "trigger": ticket.trigger.n, "part": part}
        if ticket.verdict is None:
            self._answer(HTTPStatus.ACCEPTED, told)
        else:
            self._answer(HTTPStatus.OK, {**told, "verdict": ticket.verdict.name})

    def _await(self, event: threading.Event, limit_s: float) -> bool:
        """Wait for an event, but no longer than the source is open."""
        end_s = monotonic() + limit_s
        while not event.is_set() and not self.server.closing.is_set() and (left_s := end_s - monotonic()) > 0:
            event.wait(min(left_s, _POLL_S))
        return event.is_set()

    def _answer(self, status: HTTPStatus, content: dict[str, Any]) -> None:
        body = msgspec.json.encode(content)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
            self.send_header("Retry-After", "1")
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def _end_reading(connection: socket.socket) -> None:
    """Whoever is still owed an answer gets it; nobody is heard any more."""
    try:
        connection.shutdown(socket.SHUT_RD)
    except OSError:
        _log.debug("a connection was closed already")
