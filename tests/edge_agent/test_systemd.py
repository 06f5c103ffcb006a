import os
import socket
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from edge_agent.systemd import Systemd


@pytest.fixture(params=["path", "abstract"])
def heard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A notification socket of both kinds: how it is named in the environment, and the socket."""
    name = f"lineside-{os.getpid()}-{tmp_path.name}"
    address, named = (str(tmp_path / "s"),) * 2 if request.param == "path" else (f"\0{name}", f"@{name}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(5)
        yield named, listener


def test_systemd_hears_ready_watchdog_and_stopping(heard: tuple[str, socket.socket]) -> None:
    """Each message reaches the socket that systemd names, of either kind."""
    named, listener = heard
    systemd = Systemd({"NOTIFY_SOCKET": named})

    told = [systemd.ready("2 pipelines"), systemd.watchdog(), systemd.stopping("asked\nto stop")]

    assert told == [True] * 3
    assert [listener.recv(200) for _ in range(3)] == [
        b"READY=1\nSTATUS=2 pipelines",
        b"WATCHDOG=1",
        b"STOPPING=1\nSTATUS=asked to stop",
    ]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere/socket"}])
def test_without_systemd_nothing_happens(environment: dict[str, str]) -> None:
    """Telling nobody, or somebody who is gone, is no error."""
    systemd = Systemd(environment)

    assert not systemd.ready()
    assert not systemd.watchdog()


def test_a_full_socket_does_not_hold_up_the_line(tmp_path: Path) -> None:
    """When systemd does not read, a message is lost and nobody waits."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "s"))
        systemd = Systemd({"NOTIFY_SOCKET": str(tmp_path / "s")})
        began_s = monotonic()

        lost = any(not systemd.watchdog("x" * 1000) for _ in range(3000))

    assert lost
    assert monotonic() - began_s < 2


@pytest.mark.parametrize(
    ("environment", "expected_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_watchdog_is_ours_only_if_it_says_so(environment: dict[str, str], expected_s: float) -> None:
    """The period is taken from the environment when it is meant for this process."""
    assert Systemd(environment).watchdog_s == expected_s
