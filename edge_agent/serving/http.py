"""Four questions over HTTP, answered on the loopback address: /metrics, /health/live, /health/ready, /status.

The answers are callables, asked on the server's threads. Takes no body and changes nothing.
"""

import logging
import socketserver
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

import msgspec

from edge_agent.errors import ConfigError
from edge_agent.serving.metrics import CONTENT_TYPE

Reasons: TypeAlias = Callable[[], Sequence[str]]
"""Why something is not as it should be; empty when all is well."""

_JSON = "application/json"
_POLL_S = 0.25
_IDLE_S = 5.0
"""A connection that is silent for this long is closed, so that nobody holds a thread for nothing."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answers:
    """What is said to whoever asks. `live` and `ready` give the reasons against; `status` is made JSON."""

    metrics: Callable[[], bytes]
    live: Reasons
    ready: Reasons
    status: Callable[[], Any]


class Server:
    """Listens from when it is made until it is closed; who asks before `start` waits for it."""

    def __init__(self, host: str, port: int) -> None:
        """Raises ConfigError: the address is in use, not this machine's, or not allowed."""
        try:
            self._listener = _Listener((host, port), _Handler)
        except (OSError, OverflowError) as error:
            message = f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}"
            hint = "set [serving] port to a free one, or to 0 for any; another agent may be running on this one"
            raise ConfigError(message, hint) from error
        self._thread = threading.Thread(
            target=self._listener.serve_forever, args=(_POLL_S,), name="serving", daemon=True
        )

    def start(self, answers: Answers) -> None:
        """Begin to answer."""
        self._listener.routes = {
            "/metrics": lambda: _Page(HTTPStatus.OK, CONTENT_TYPE, answers.metrics()),
            "/health/live": lambda: _health("live", answers.live()),
            "/health/ready": lambda: _health("ready", answers.ready()),
            "/status": lambda: _Page(HTTPStatus.OK, _JSON, msgspec.json.encode(answers.status())),
        }
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listener.server_address[1])

    def close(self) -> None:
        """Stop listening. May be called twice."""
        if self._thread.is_alive():
            self._listener.shutdown()
            self._thread.join()
        self._listener.server_close()


@dataclass(frozen=True, slots=True)
class _Page:
    status: HTTPStatus
    kind: str
    body: bytes


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    routes: dict[str, Callable[[], _Page]]

    def server_bind(self) -> None:
        """Bind without asking a name server who we are, as the parent does: offline that takes seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, _request: object, client_address: object) -> None:
        """A neighbour that hangs up is no event."""
        _log.debug("connection of %s ended early", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Listener
    server_version = "lineside"
    sys_version = ""
    timeout = _IDLE_S

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the parent's name)
        _log.debug(format, *args)

    def _answer(self, *, with_body: bool) -> None:
        page = _page(self.server.routes, self.path.partition("?")[0])
        self.send_response(page.status)
        self.send_header("Content-Type", page.kind)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if with_body:
            self.wfile.write(page.body)


def _page(routes: dict[str, Callable[[], _Page]], path: str) -> _Page:
    route = routes.get(path)
    if route is None:
        return _problem(HTTPStatus.NOT_FOUND, f"there is {', '.join(routes)}")
    try:
        return route()
    except Exception:  # noqa: BLE001 (one question's bug must not end the answers to the others)
        _log.exception("%s could not be answered", path)
        return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the agent's log says why")


def _health(name: str, reasons: Sequence[str]) -> _Page:
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    return _Page(status, _JSON, msgspec.json.encode({name: not reasons, "reasons": list(reasons)}))


def _problem(status: HTTPStatus, hint: str) -> _Page:
    return _Page(status, _JSON, msgspec.json.encode({"error": status.phrase, "hint": hint}))
