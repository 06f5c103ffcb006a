"""Which processes a day has running, written down so that another call can end them; a number is never trusted alone.

A process is known by its number and the moment it started: a number that was given again is somebody else.
"""

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

FILE = "running.json"
LOOK_S = 0.1


class Process(msgspec.Struct, frozen=True):
    """A process of this machine: its number, and its start in clock ticks since boot."""

    pid: int
    started: int


class Running(msgspec.Struct, frozen=True):
    """A day that runs: where it lies, who plays it, and its other processes by name."""

    day: str
    player: Process
    children: dict[str, Process]


def of(pid: int) -> Process | None:
    """The process with this number; None when there is none, or only the remains of one that ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace")
    except OSError:
        return None
    # The name stands in brackets and may hold anything, brackets too: the fields count from the last one.
    fields = stat.rpartition(")")[2].split()
    return Process(pid, int(fields[19])) if fields[0] not in "ZX" else None


def is_alive(process: Process) -> bool:
    """Whether it is still the same one."""
    return of(process.pid) == process


def write(data: Path, running: Running) -> None:
    """Write down what runs, whole or not at all."""
    part = data / f"{FILE}.part"
    part.write_bytes(msgspec.json.encode(running) + b"\n")
    part.rename(data / FILE)


def read(data: Path) -> Running | None:
    """What runs, of what was written down; None when nothing does."""
    try:
        running = msgspec.json.decode((data / FILE).read_bytes(), type=Running)
    except (OSError, msgspec.MsgspecError):
        return None
    children = {name: child for name, child in running.children.items() if is_alive(child)}
    if not children and not is_alive(running.player):
        return None
    return msgspec.structs.replace(running, children=children)


def forget(data: Path) -> None:
    """Nothing runs any more."""
    (data / FILE).unlink(missing_ok=True)


def end(children: Mapping[str, Process], patience_s: float = 15) -> None:
    """End processes in their order, the gateways before the hub they send to; who does not obey is killed."""
    for process in children.values():
        _send(process, signal.SIGTERM)
        deadline = time.monotonic() + patience_s
        while is_alive(process) and time.monotonic() < deadline:
            time.sleep(LOOK_S)
        _send(process, signal.SIGKILL)


def _send(process: Process, number: signal.Signals) -> None:
    if is_alive(process):
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
