"""Run by test_full_disk.py on a small disk of its own: `python -m tests.faults.full_disk FOLDER how`."""

import os
import sys
from contextlib import suppress
from pathlib import Path

from tests.gateways import READY, Gateway, until

PARTS = 100


def fill(folder: Path) -> None:
    """Others take what there is, to the last byte."""
    with (folder / "junk").open("ab", buffering=0) as junk, suppress(OSError):
        while True:
            junk.write(os.urandom(4096))


def work(gateway: Gateway, *, kill: bool) -> None:
    """A run of so many parts; each has its verdict at the end of one that stops in order."""
    with gateway.running() as agent:
        goal = gateway.triggers() + PARTS
        until(f"{goal} parts", lambda: gateway.triggers() >= goal, 60)
        if kill:
            return
        assert agent.stop() == 0, agent.lines
    numbers = [n for n, _, _ in gateway.verdicts()]
    assert numbers == list(range(1, gateway.triggers() + 1))


def live_on(folder: Path, *, kill: bool) -> None:
    """A gateway whose disk others have filled while it did not run starts, judges, stops, and does so again."""
    gateway = Gateway(folder / "press-1")
    work(gateway, kill=kill)
    for _ in range(2):
        fill(folder)
        work(gateway, kill=False)


def begin(folder: Path, left_kb: int) -> None:
    """A first start on a disk with so little left says what is wrong, and what it has begun takes no room."""
    gateway = Gateway(folder / "press-1")
    fill(folder)
    os.truncate(folder / "junk", (folder / "junk").stat().st_size - left_kb * 1024)
    agent = gateway.start()
    with suppress(AssertionError):
        agent.await_line(READY)
    assert agent.stop() == 2, agent.lines
    cause, cure = agent.lines
    assert cause.startswith("error: "), cause
    assert str(gateway.data) in cause
    assert "free disk space" in cure
    assert not list(gateway.data.glob(".*.new"))


if __name__ == "__main__":
    disk, how = Path(sys.argv[1]), sys.argv[2]
    if how in ("stop", "kill"):
        live_on(disk, kill=how == "kill")
    else:
        begin(disk, int(how))
