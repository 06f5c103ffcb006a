"""What every room's tests may use: ports nobody listens on, and the foreign programs some of them need."""

import os
import shutil
import socket
from collections.abc import Callable

import hypothesis
import pytest

hypothesis.settings.register_profile("lineside", deadline=None)  # the cores are shared: time proves nothing here
hypothesis.settings.load_profile("lineside")

SBIN = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])  # where Debian puts mosquitto
NEEDS = {
    "broker": ("mosquitto", shutil.which("mosquitto", path=SBIN)),
    "browser": ("chromium", shutil.which("chromium")),
    "qemu": ("qemu-user-static", shutil.which("qemu-x86_64-static")),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip by name what needs a program that is not here, with the command that brings it."""
    for item in items:
        for marker, (package, path) in NEEDS.items():
            if path is None and item.get_closest_marker(marker) is not None:
                item.add_marker(
                    pytest.mark.skip(reason=f"no {package}; an administrator runs: apt-get install {package}")
                )


@pytest.fixture(scope="session")
def mosquitto() -> str:
    """The path of the mosquitto binary; for tests marked `broker`."""
    return _path("broker")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the chromium binary; for tests marked `browser`."""
    return _path("browser")


@pytest.fixture(scope="session")
def qemu() -> str:
    """The path of the binary that runs x86-64 programs on another processor; for tests marked `qemu`."""
    return _path("qemu")


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A port of 127.0.0.1 that nobody listened on a moment ago, for programs that cannot be given port 0."""

    def port() -> int:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            number: int = listener.getsockname()[1]
            return number

    return port


def _path(marker: str) -> str:
    package, path = NEEDS[marker]
    if path is None:
        pytest.fail(f"this test uses {package} and so must carry the marker {marker}")
    return path
