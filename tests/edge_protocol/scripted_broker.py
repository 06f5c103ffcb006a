"""A broker that says what a test tells it to: one scripted conversation for each connection that comes."""

import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Iterator

CONNACK_5 = bytes.fromhex("2003000000")
CONNACK_311 = bytes.fromhex("20020000")

Script = Callable[["Conversation"], None]


class Conversation:
    """One connection, as the broker sees it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.file = sock.makefile("rb")

    def say(self, raw: bytes) -> None:
        """Send these bytes, whatever they mean."""
        self._sock.sendall(raw)

    def packets(self) -> Iterator[tuple[int, bytes]]:
        """What the client sends: the kind (1 CONNECT, 3 PUBLISH, 8 SUBSCRIBE, 12 PING, 14 DISCONNECT), and the rest."""
        while head := self.file.read(1):
            length, shift = 0, 0
            while True:
                byte = self.file.read(1)[0]
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            yield head[0] >> 4, self.file.read(length)


class ScriptedBroker:
    """Listens on loopback; the n-th connection gets the n-th script, later ones the last."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = scripts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://127.0.0.1:{self._listener.getsockname()[1]}"
        self.heard: queue.Queue[tuple[int, bytes]] = queue.Queue()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    def close(self) -> None:
        """Break all connections and listen no more."""
        _shut(self._listener)
        self._threads[0].join()  # it accepts: after it no socket and no thread comes
        for sock in self._sockets:
            _shut(sock)
        for thread in self._threads:
            thread.join()
        for sock in (self._listener, *self._sockets):
            sock.close()

    def hear(self, kind: int) -> bytes:
        """The next packet of this kind that any connection brings."""
        while True:
            heard, rest = self.heard.get(timeout=10)
            if heard == kind:
                return rest

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            for number in range(1000):
                sock, _ = self._listener.accept()
                self._sockets.append(sock)
                script = self._scripts[min(number, len(self._scripts) - 1)]
                self._run(self._converse, sock, script)

    def _run(self, target: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()

    def _converse(self, sock: socket.socket, script: Script) -> None:
        conversation = _Heard(sock, self.heard)
        with contextlib.suppress(OSError, ValueError, IndexError), sock, conversation.file:
            script(conversation)


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


class _Heard(Conversation):
    def __init__(self, sock: socket.socket, heard: "queue.Queue[tuple[int, bytes]]") -> None:
        super().__init__(sock)
        self._heard = heard

    def packets(self) -> Iterator[tuple[int, bytes]]:
        for packet in super().packets():
            self._heard.put(packet)
            yield packet


def welcome(connack: bytes = CONNACK_5, puback: bytes | None = None) -> Script:
    """Take the connection and listen; answer each PUBLISH with `puback` (its reason and properties) if there is one."""

    def script(conversation: Conversation) -> None:
        for kind, rest in conversation.packets():
            if kind == 1:
                conversation.say(connack)
            elif kind == 3 and puback is not None:
                topic_end = 2 + int.from_bytes(rest[:2])
                answer = rest[topic_end : topic_end + 2] + puback
                conversation.say(bytes([0x40, len(answer)]) + answer)

    return script


def refuse(raw: bytes) -> Script:
    """Answer the CONNECT with `raw` and close."""

    def script(conversation: Conversation) -> None:
        next(conversation.packets())
        conversation.say(raw)

    return script


def babble(raw: bytes) -> Script:
    """Take the connection, then send `raw` and listen."""

    def script(conversation: Conversation) -> None:
        packets = conversation.packets()
        next(packets)
        conversation.say(CONNACK_5 + raw)
        for _ in packets:
            pass

    return script
