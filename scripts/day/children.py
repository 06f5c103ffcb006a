"""The processes of a day: started with their output in a log each, and all ended however the day ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from scripts.day.interrupts import Interrupts
from scripts.day.processes import Process, of

T = TypeVar("T")
BIN = Path(sys.executable).parent
LOOK_S = 0.2
LAST_LINES = 6


class DayError(Exception):
    """The day cannot go on; the message says what happened, the hint where to look or what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Children:
    """Named child processes. Each is in its own session, so that Ctrl-C reaches only the one who plays the day."""

    def __init__(
        self,
        logs: Path,
        interrupts: Interrupts,
        changed: Callable[[Mapping[str, Process]], None] = lambda _children: None,
    ) -> None:
        """`changed` is told all children, the last started first, whenever one was started or has ended."""
        self._logs = logs
        self._interrupts = interrupts
        self._changed = changed
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.released = False
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, command: list[str]) -> None:
        """Start `command`, a program beside our Python, as `name`."""
        with (self._logs / f"{name}.log").open("ab") as log, self._interrupts.held():
            self._running[name] = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._tell()

    def show(self, name: str, command: list[str]) -> None:
        """Run `command` in the foreground: what it says goes where our words go.

        Raises:
            DayError: it did not end with 0.
        """
        with self._interrupts.held():
            self._running[name] = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]], stdin=subprocess.DEVNULL, start_new_session=True
            )
            self._tell()
        code = self._running[name].wait()
        del self._running[name]
        if code != 0:
            message = f"{name} ended with exit code {code}"
            raise DayError(message, "its words stand above")

    def kill(self, name: str) -> None:
        """End a child at once, as a crash would: SIGKILL."""
        self._running[name].kill()
        self._running[name].wait()
        del self._running[name]
        self._tell()

    def stop(self, *names: str, timeout_s: float = 20) -> dict[str, int]:
        """Ask children to end and wait for them; those that do not obey are killed. Their exit codes by name."""
        ending = {name: self._running[name] for name in names if name in self._running}
        for child in ending.values():
            child.terminate()
        deadline = time.monotonic() + timeout_s
        for name, child in ending.items():
            try:
                child.wait(max(deadline - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            del self._running[name]
        self._tell()
        return {name: child.returncode for name, child in ending.items()}

    def stop_all(self, last: Sequence[str] = (), timeout_s: float = 20) -> None:
        """End all children, those named in `last` after all others and in this order."""
        self.stop(*(name for name in self._running if name not in last), timeout_s=timeout_s)
        for name in last:
            self.stop(name, timeout_s=timeout_s)

    def check(self) -> None:
        """Make sure that all still run.

        Raises:
            DayError: one has ended by itself; its last words are in the message.
        """
        for name, child in self._running.items():
            if (code := child.poll()) is not None:
                log = self._logs / f"{name}.log"
                how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                words = log.read_text(errors="replace").strip().splitlines()[-LAST_LINES:]
                message = f"{name} ended by itself ({how}). Its last words:\n" + "\n".join(
                    f"  {word}" for word in words
                )
                raise DayError(message, f"read all it said in {log}")

    def release(self) -> None:
        """Let all go on without us."""
        self._running.clear()
        self.released = True

    def until(self, what: str, look: Callable[[], T | None], timeout_s: float) -> T:
        """Look every fifth of a second until there is something.

        Raises:
            DayError: a child ended meanwhile, or nothing came in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            if (found := look()) is not None:
                return found
            self.check()
            if time.monotonic() > deadline:
                message = f"waited {timeout_s:.0f} s for {what}, in vain"
                raise DayError(message, f"read what the processes said in {self._logs}")
            time.sleep(LOOK_S)

    def _tell(self) -> None:
        found = {name: of(child.pid) for name, child in self._running.items()}
        self._changed({name: process for name, process in reversed(found.items()) if process is not None})


def say(command: list[str], accept: Sequence[int] = (0,)) -> str:
    """What one of our commands prints.

    Raises:
        DayError: it ended with another exit code than those accepted; its words are in the message.
    """
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"NO_COLOR": "1"},
        start_new_session=True,
    )
    if done.returncode not in accept:
        message = f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}"
        raise DayError(message)
    return done.stdout


def say_json(command: list[str], accept: Sequence[int] = (0,)) -> Any:
    """What one of our commands prints with --json.

    Raises:
        DayError: as `say`, or it was no JSON.
    """
    said = say([*command, "--json"], accept)
    try:
        return json.loads(said)
    except ValueError as error:
        message = f"{' '.join(command)} --json printed no JSON: {said[:200]}"
        raise DayError(message) from error
