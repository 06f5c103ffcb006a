"""Serves an application on one address from a thread of its own, and stops it without cutting an answer short."""

import socket
import threading

import uvicorn
from fastapi import FastAPI

from cloud_hub.errors import ConfigError

GRACE_S = 2


class WebServer:
    """The web server of a hub: `start()`, then it answers at `url` until `close()`. Port 0 is any free one."""

    def __init__(self, app: FastAPI, host: str = "127.0.0.1", port: int = 0) -> None:
        self._app = app
        self._socket = _listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE_S, server_header=False
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="web", daemon=True)

    def start(self) -> None:
        """Begin to answer. Whoever connects before the application is up waits in the socket's queue."""
        self._thread.start()

    def close(self) -> None:
        """Stop: streams end, open answers are finished, the port is free."""
        self._app.state.streams.close()
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(GRACE_S + 5)
        self._socket.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        message = f"the web server cannot listen on {host}:{port}: {error.strerror}"
        raise ConfigError(message, "choose another [web] port in hub.toml, or end what uses this one") from error
    return listener
