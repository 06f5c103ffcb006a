"""A receiver of webhooks for tests: it remembers what it was told, and answers as a test says."""

import json
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

PATIENCE_S = 20.0


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    pause = threading.Event()
    for _ in range(round(PATIENCE_S / 0.005)):
        if holds():
            return
        pause.wait(0.005)
    pytest.fail("waited in vain")


class Receiver:
    """An HTTP server on loopback. `answers` are (status, headers) for the requests to come, then 204 for each.

    A status of 0 hangs up; one of -1 says nothing until the end; one of -2 never comes to its end.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.connections: set[object] = set()
        self.port = 0
        self._tls = tls
        self._ended = threading.Event()
        self.mend()

    @property
    def told(self) -> list[dict[str, Any]]:
        """The bodies so far."""
        return [body for _, _, body in self.requests]

    def mend(self) -> None:
        """Listen, on the port of before."""
        self._ended.clear()
        self._server = _Server(("127.0.0.1", self.port), self._handler())
        self.port = int(self._server.server_address[1])
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def break_down(self) -> None:
        """Listen no more, and end what is connected."""
        self._ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.end()

    def _answer(self) -> tuple[int, dict[str, str]]:
        return self.answers.pop(0) if self.answers else (204, {})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.connections.add(self.client_address)
                status, headers = receiver._answer()
                receiver.requests.append((self.path, dict(self.headers.items()), body))
                if status <= 0:
                    self._say_nothing(status)
                    return
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def _say_nothing(self, status: int) -> None:
                self.close_connection = True
                while status == -2 and not receiver._ended.wait(0.01):
                    try:
                        self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                    except OSError:
                        return
                receiver._ended.wait(PATIENCE_S if status else 0)

            def log_message(self, *_words: object) -> None:
                pass

        return Handler


class _Server(ThreadingHTTPServer):
    """Ends its connections with itself."""

    daemon_threads = False

    def __init__(self, *args: Any) -> None:
        self._open: list[Any] = []
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.append(request)
        super().process_request(request, client_address)

    def handle_error(self, *_args: object) -> None:
        pass

    def end(self) -> None:
        """Close everything."""
        for request in self._open:
            try:
                request.shutdown(2)
            except OSError:
                continue
        self.server_close()
