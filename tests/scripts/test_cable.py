import socket
import threading
from collections.abc import Iterator

import pytest

from scripts.day.cable import Cable

PATIENCE_S = 10


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that says back what it hears."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                while data := peer.recv(1024):
                    peer.sendall(data)

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()
    listener.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE_S)
    listener.close()


@pytest.fixture
def cable(echo: tuple[str, int]) -> Iterator[Cable]:
    """A cable to the echo."""
    cable = Cable(echo)
    yield cable
    cable.close()


def plug(cable: Cable) -> socket.socket:
    """An end of the cable."""
    return socket.create_connection(("127.0.0.1", cable.port), timeout=PATIENCE_S)


def is_dead(end: socket.socket) -> bool:
    """Whether the connection ended; a peer that only keeps silent is none."""
    try:
        return end.recv(1) == b""
    except ConnectionError:
        return True


def test_a_cable_carries_both_ways(cable: Cable) -> None:
    """What goes in at one end comes out at the other, and back."""
    with plug(cable) as end:
        end.sendall(b"part 7: NG")

        assert end.recv(100) == b"part 7: NG"


def test_a_cut_ends_what_stands_and_what_comes(cable: Cable) -> None:
    """While the cable is cut no connection lives, neither an old one nor a new one."""
    with plug(cable) as old:
        old.sendall(b"x")
        old.recv(1)

        cable.cut()

        assert is_dead(old)
        with plug(cable) as new:
            assert is_dead(new)


def test_a_mended_cable_carries_again(cable: Cable) -> None:
    """After `mend` a new connection works as if nothing had been."""
    cable.cut()
    cable.mend()

    with plug(cable) as end:
        end.sendall(b"y")

        assert end.recv(1) == b"y"


def test_a_cable_to_nowhere_is_dead(cable: Cable) -> None:
    """A gateway whose broker is not there gets a connection that ends, and the cable goes on."""
    nowhere = socket.create_server(("127.0.0.1", 0))
    target = nowhere.getsockname()
    nowhere.close()
    lonely = Cable(target)

    with plug(lonely) as end:
        assert is_dead(end)

    lonely.close()
