"""A body comes in, is POSTed to one URL, and how that went goes out. Its connection is kept for the next one.

Never follows a redirect or asks a proxy. It is `http.client`: httpx would take the gateway memory and time to
import for what is one POST.
"""

import http.client
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

from edge_agent import __version__
from edge_agent.errors import ConfigError
from edge_agent.settings.bearer import read_token

MAX_ANSWER_BYTES = 64 * 1024
_AGAIN = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a POST. Without a `problem` it was taken; `retry`: it may be taken later, not before `after_s`."""

    problem: str = ""
    retry: bool = False
    after_s: float = 0.0


class Webhook:
    """One URL. `post` and `close` belong to one thread, `limit` to any."""

    def __init__(self, url: str, timeout_s: float, tls: ssl.SSLContext | None, token_file: Path | None) -> None:
        self._url = urlsplit(url)
        self._timeout_s = timeout_s
        self._tls = tls
        self._token_file = token_file
        self._connection: http.client.HTTPConnection | None = None
        self._began_s: float | None = None
        self._is_ended = False

    def post(self, body: bytes, key: str) -> Answer:
        """POST once; `key` lets the other side see that it had this before."""
        is_kept = self._connection is not None
        answer = self._try(body, key)
        # A kept connection may have been ended while it rested: that says nothing of the other side.
        return self._try(body, key) if answer is _HUNG_UP and is_kept else answer

    def limit(self) -> None:
        """End a POST that lasts longer than it may: each of its bytes may be in time, and their sum not."""
        began_s = self._began_s
        if began_s is not None and monotonic() - began_s > self._timeout_s:
            self.interrupt()

    def interrupt(self) -> None:
        """End the POST that is under way. Any thread."""
        self._is_ended = True
        connection = self._connection
        sock = connection.sock if connection is not None else None
        if sock is not None:
            with suppress(OSError):
                # Of the plain socket: that of TLS would change under the thread that reads from it.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Let the connection go."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _try(self, body: bytes, key: str) -> Answer:
        self._began_s, self._is_ended = monotonic(), False
        try:
            return self._post(body, key)
        except (OSError, http.client.HTTPException, ValueError, ConfigError) as error:
            self.close()
            return _LATE if self._is_ended else _lost(error)
        finally:
            self._began_s = None

    def _post(self, body: bytes, key: str) -> Answer:
        headers = {"Content-Type": "application/json", "Idempotency-Key": key, "User-Agent": f"lineside/{__version__}"}
        if self._token_file is not None:  # read anew each time: it may be renewed
            headers["Authorization"] = f"Bearer {read_token(self._token_file)}"
        if self._connection is None:
            self._connection = self._make_connection()
        path = self._url.path or "/"
        self._connection.request("POST", f"{path}?{self._url.query}" if self._url.query else path, body, headers)
        response = self._connection.getresponse()
        response.read(MAX_ANSWER_BYTES)
        if not response.isclosed():
            self.close()
        return _judge(response)

    def _make_connection(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=self._tls)
        return http.client.HTTPConnection(host, port, timeout=self._timeout_s)


def _judge(response: http.client.HTTPResponse) -> Answer:
    status = response.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Answer()
    problem = f"answered {status} {response.reason}"[:200]
    if location := response.getheader("Location"):
        problem += f" (it is now at {location[:200]})"
    after = response.getheader("Retry-After", "")
    is_seconds = after.isascii() and after.isdigit() and len(after) < 6
    may_change = status in _AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return Answer(problem, retry=may_change, after_s=float(after) if is_seconds else 0.0)


def _lost(error: Exception) -> Answer:
    if isinstance(error, (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)):
        return _HUNG_UP
    if isinstance(error, TimeoutError):
        return _LATE
    if isinstance(error, ssl.SSLCertVerificationError):
        return Answer(f"its certificate is not trusted: {error.verify_message}", retry=True)
    return Answer(f"{getattr(error, 'strerror', None) or str(error) or type(error).__name__}"[:200], retry=True)


_HUNG_UP = Answer("it hung up without an answer", retry=True)
_LATE = Answer("no answer in time", retry=True)
