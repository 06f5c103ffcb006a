"""An agent to ask, and two ways to ask its server: by the library, and byte by byte."""

import http.client
import socket
import threading
from contextlib import closing
from typing import Any

from edge_agent.serving.metrics import Metrics
from edge_agent.serving.models import Models
from edge_agent.serving.server import Server
from edge_agent.serving.site import Answers, Site

TOKEN = "0123456789abcdef"


class Agent:
    """An agent to ask: what is wrong with it is put in `reasons`."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.asked = threading.Event()
        self.go_on = threading.Event()

    def status(self) -> dict[str, Any]:
        """What `edge-agent status` shows."""
        if self.reasons == ["broken"]:
            message = "a bug"
            raise ZeroDivisionError(message)
        if self.reasons == ["slow"]:
            self.asked.set()
            self.go_on.wait(10)
        return {"gateway": "press-1"}

    def site(self) -> Site:
        """What it answers."""

        def reasons() -> list[str]:
            return self.reasons

        return Site(Answers(Metrics().render, reasons, reasons, reasons, self.status, Models(dict)))


def ask(server: Server, path: str, method: str = "GET", **more: Any) -> tuple[int, str, bytes]:
    """Status, content type and body of the answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request(method, path, **more)
        response = connection.getresponse()
        return response.status, response.headers["Content-Type"], response.read()


def say(server: Server, raw: bytes) -> bytes:
    """Everything that comes back for some bytes, until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(raw)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b""))
