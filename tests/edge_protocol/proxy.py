"""A TCP proxy before a broker, for breaking the network to one client: cut, restore, freeze, thaw."""

import contextlib
import socket
import threading


class Proxy:
    """Listens on a port of its own on loopback and passes bytes to `target_port`, while the network is whole."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._whole = True
        self._answering = threading.Event()
        self._answering.set()
        self._lock = threading.Lock()
        self._run(self._accept)

    def cut(self) -> None:
        """Break every connection, and every one to come."""
        with self._lock:
            self._whole = False
            self._break()

    def restore(self) -> None:
        """Let connections through again."""
        self._whole = True

    def freeze(self) -> None:
        """Hold back what the broker answers."""
        self._answering.clear()

    def thaw(self) -> None:
        """Pass on what was held back."""
        self._answering.set()

    def close(self) -> None:
        """Break everything for good."""
        self.cut()
        self.thaw()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:  # the first accepts; the list grows no more once that one has ended
            thread.join()
        for sock in self._sockets:
            sock.close()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            try:
                broker = socket.create_connection(("127.0.0.1", self._target_port), 5)
            except OSError:
                client.close()
                continue
            broker.settimeout(None)
            with self._lock:
                self._sockets += [client, broker]
                if not self._whole:
                    self._break()
            self._run(self._pass, client, broker, threading.Event())
            self._run(self._pass, broker, client, self._answering)

    def _pass(self, source: socket.socket, sink: socket.socket, gate: threading.Event) -> None:
        with source:
            while data := source.recv(65536):
                if gate is self._answering:
                    gate.wait()
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def _break(self) -> None:
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _run(self, target, *arguments) -> None:
        def quietly() -> None:
            with contextlib.suppress(OSError):
                target(*arguments)

        self._threads.append(threading.Thread(target=quietly, daemon=True))
        self._threads[-1].start()
