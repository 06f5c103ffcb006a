"""Listens on an address and, where one is named, on a Unix socket; each connection has a thread of low priority.

Wider than loopback only with a token. Knows what a request is, not what is asked.
"""

import logging
import os
import select
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from edge_agent.errors import ConfigError
from edge_agent.serving.connection import Budget, Connection, Site
from edge_agent.serving.door import MIN_TOKEN, Guarded, Local
from edge_agent.settings.bearer import read_token
from edge_agent.settings.checks import is_loopback

MAX_CONNECTIONS = 24
"""More than that: who has been silent longest has to go."""

BODIES_BYTES = 64 * 2**20
"""What the bodies of all connections together may take."""

_BACKLOG = 64
_SOCKET_MODE = 0o660
_MAX_PATH = 107

log = logging.getLogger(__name__)


class Server:
    """Listens from when it is made until it is closed; who asks before `start` waits for it."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        path: Path | None = None,
        token_file: Path | None = None,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        """`path` of a Unix socket, whose permissions are its guard; `begin` is called first by each of its threads.

        Raises:
            ConfigError: an address is in use, not ours, or open to others without a token.
        """
        if token_file is None and not is_loopback(host):
            message = f"[serving] host {host} is reached by other machines, and there is no token"
            raise ConfigError(message, "set token_file, or take 127.0.0.1 and let a proxy decide who may ask")
        self._token = read_token(token_file, "[serving]", least=MIN_TOKEN).encode() if token_file is not None else b""
        self._begin = begin
        self._path = path
        self._budget = Budget(BODIES_BYTES)
        self._connections: dict[Connection, None] = {}
        self._lock = threading.Lock()
        self._is_closed = False
        self._listeners = [_listen(host, port)]
        self.port: int = self._listeners[0].getsockname()[1]
        try:
            self._listeners += [_listen_at(path)] if path is not None else []
            self._wake, self._woken = socket.socketpair()
        except BaseException:
            self._listeners[0].close()
            raise
        self._thread: threading.Thread | None = None

    def start(self, site: Site) -> None:
        """Begin to answer."""
        guarded = Guarded(site, self._token) if self._token else Local(site)
        self._thread = threading.Thread(target=self._accept, args=([guarded, site],), name="serving", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and end what is under way. May be called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        self._wake.close()
        if self._thread is not None:
            self._thread.join()
        for listener in self._listeners:
            listener.close()
        self._woken.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        with self._lock:
            left = list(self._connections)
        for connection in left:
            connection.close()

    def _accept(self, sites: Sequence[Site]) -> None:
        self._begin()
        while self._woken not in (ready := select.select([*self._listeners, self._woken], [], [])[0]):
            for listener, site in zip(self._listeners, sites, strict=False):
                if listener not in ready:
                    continue
                with suppress(OSError):
                    self._welcome(listener.accept()[0], site)

    def _welcome(self, sock: socket.socket, site: Site) -> None:
        connection = Connection(sock, site, self._budget)
        with self._lock:
            if len(self._connections) >= MAX_CONNECTIONS:
                idle = next((each for each in self._connections if each.is_idle), None)
                if idle is None:
                    sock.close()
                    return
                # Gone from here at once, so that the next newcomer asks another one to go.
                del self._connections[idle]
                idle.close()
            self._connections[connection] = None
        threading.Thread(target=self._serve, args=(connection,), name="neighbour", daemon=True).start()

    def _serve(self, connection: Connection) -> None:
        self._begin()
        try:
            connection.serve()
        except Exception:  # a bug behind one connection must not end the others, and the log has to have it
            log.exception("a connection ended")
        finally:
            with self._lock:
                self._connections.pop(connection, None)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        message = f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}"
        hint = "set [serving] port to a free one, or to 0 for any; another agent may be running on this one"
        raise ConfigError(message, hint) from error
    return listener


def _listen_at(path: Path) -> socket.socket:
    hint = f"set [serving] socket to a path of at most {_MAX_PATH} bytes in a folder that is there and may be written"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if _answers(path):
        listener.close()
        message = f"cannot listen on {path}: somebody does already"
        raise ConfigError(message, "another agent may be running with this [serving] socket")
    try:
        if path.is_socket():  # left behind by a kill; anything else is not ours to remove
            path.unlink()
        # Before it has a name, so that nobody finds it open to all for a moment.
        os.fchmod(listener.fileno(), _SOCKET_MODE)
        listener.bind(str(path))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        message = f"cannot listen on {path}: {error.strerror or error}"
        raise ConfigError(message, hint) from error
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, suppress(OSError):
        probe.connect(str(path))
        return True
    return False
