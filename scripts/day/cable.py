"""Network cables that can be pulled: a TCP relay on loopback between each gateway and the broker.

Run as a process of its own, `python -m scripts.day.cable FOLDER PORT NAME…`, it writes the ports of its cables into
`FOLDER/ports.json`. A cable is pulled while the file `FOLDER/NAME.cut` is there.
"""

import json
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

LOOK_S = 0.1
CHUNK_BYTES = 65536


class Cable:
    """Relays connections to `target`. `cut` drops those that stand and refuses new ones until `mend`."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._plugged = True
        self._lock = threading.Lock()
        self._ends: set[socket.socket] = set()
        self._joins: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Pull the cable."""
        with self._lock:
            self._plugged = False
            for end in self._ends:
                _shut(end)

    def mend(self) -> None:
        """Plug the cable in again."""
        with self._lock:
            self._plugged = True

    def close(self) -> None:
        """End the relay."""
        self.cut()
        _shut(self._listener)
        self._thread.join()
        for join in self._joins:
            join.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target, timeout=2)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            self._joins = [join for join in self._joins if join.is_alive()]
            self._joins.append(threading.Thread(target=self._join, args=(near, far), daemon=True))
            self._joins[-1].start()

    def _join(self, near: socket.socket, far: socket.socket) -> None:
        with near, far:
            with self._lock:
                if not self._plugged:
                    return
                self._ends |= {near, far}
            back = threading.Thread(target=_relay, args=(far, near), daemon=True)
            back.start()
            _relay(near, far)
            back.join()
            with self._lock:
                self._ends -= {near, far}


def _relay(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK_BYTES):
            sink.sendall(data)
    _shut(source)
    _shut(sink)


def _shut(end: socket.socket) -> None:
    """Wakes whoever waits for it; the one who waited closes it."""
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


def main(folder: Path, port: int, names: list[str]) -> None:
    """Relay for `names` until the process is ended."""
    cables = {name: Cable(("127.0.0.1", port)) for name in names}
    ports = folder / "ports.json.part"
    ports.write_text(json.dumps({name: cable.port for name, cable in cables.items()}))
    ports.rename(folder / "ports.json")
    pulled: set[str] = set()
    while True:
        for name, cable in cables.items():
            is_cut = (folder / f"{name}.cut").exists()
            if is_cut and name not in pulled:
                cable.cut()
                pulled.add(name)
            elif not is_cut and name in pulled:
                cable.mend()
                pulled.discard(name)
        time.sleep(LOOK_S)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
