"""What the agent tells systemd: that it is ready, that it lives, that it stops. Without systemd it tells nobody.

Standard library only, and never an error: a service that cannot be told still serves.
"""

import os
import socket
from collections.abc import Mapping


class Systemd:
    """The notification socket of `Type=notify`, of the file system or abstract (`@…`)."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = _watchdog_s(environment)

    @property
    def is_listening(self) -> bool:
        """Whether anybody wants to be told."""
        return bool(self._address)

    def ready(self, status: str = "") -> bool:
        """The gateway judges parts from now on."""
        return self._tell("READY=1", status)

    def watchdog(self, status: str = "") -> bool:
        """The gateway is well. Say it every half of `watchdog_s`, and only when it is so."""
        return self._tell("WATCHDOG=1", status)

    def stopping(self, status: str = "") -> bool:
        """The gateway has begun to stop."""
        return self._tell("STOPPING=1", status)

    def _tell(self, state: str, status: str) -> bool:
        """Whether the message was taken."""
        if not self._address:
            return False
        lines = [state] + ([f"STATUS={' '.join(status.split())}"] if status else [])
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)  # A full socket must not hold up the line.
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            return False
        return True


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """Time after which systemd kills a silent service; 0 when it does not watch this process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    usec = environment.get("WATCHDOG_USEC", "")
    return int(usec) / 1e6 if usec.isdecimal() else 0.0
