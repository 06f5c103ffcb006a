"""A real gateway in a folder: fast bundles, its own TOML, the installed `edge-agent` in processes of its own."""

import contextlib
import gc
import json
import mmap
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric import ed25519

from cloud_hub.access import keys
from edge_agent import config, identity
from edge_agent.agent import Agent
from edge_agent.cli import place
from edge_agent.clock import Clock
from edge_agent.inference import ring
from edge_protocol import ranges
from edge_protocol.messages import StreamAccount
from edge_protocol.ranges import EMPTY, Ranges
from tests.edge_agent.inference.small_bundles import LENGTH, write_image_bundle, write_window_bundle

BIN = Path(sys.executable).parent
PROGRAM = str(BIN / "edge-agent")
READY = "is ready"
START_S = 60.0
"""For a start on a machine whose cores are shared by many tests."""

TOML = """\
[gateway]
id = "{name}"
site = "test site"

[[sources]]
kind = "replay"
name = "noise"
scene = "windows"
path = "windows.txt"
seed = 7
defect_share = 0.1

[[triggers]]
kind = "timer"
name = "belt"
rate_hz = {rate_hz}

[[pipelines]]
name = "engine"
bundle = "small-window"
source = "noise"
trigger = "belt"
outputs = ["journal"]

[[outputs]]
kind = "file"
name = "journal"
path = "verdicts.jsonl"
"""
"""A gateway that hears a machine."""

FOLDER_TOML = """\
[gateway]
id = "{name}"

[[sources]]
kind = "folder"
name = "camera"
path = "in"
settle_s = 0

[[triggers]]
kind = "source"
name = "part"
source = "camera"
poll_s = 0.01

[[pipelines]]
name = "{pipeline}"
bundle = "{bundle}"
source = "camera"
trigger = "part"
outputs = ["journal"]

[[outputs]]
kind = "file"
name = "journal"
path = "verdicts.jsonl"
"""
"""A gateway that judges what is put into a folder."""


def until(what: str, look: Callable[[], Any], timeout_s: float = 30.0, every_s: float = 0.02) -> Any:
    """What `look` finds, as soon as it finds something."""
    pause, deadline_s = threading.Event(), time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline_s, f"waited {timeout_s:.0f} s in vain for {what}"
        pause.wait(every_s)
    return found


def window(seed: int) -> np.ndarray:
    """A good window, never the same twice."""
    return np.asarray(np.sin(np.arange(LENGTH) / 3) + np.random.default_rng(seed).normal(0, 0.05, LENGTH))


def windows(path: Path) -> None:
    """A table of windows for the replay source, label first: good ones are low, faulty ones are high."""
    rng = np.random.default_rng(0)
    at = np.arange(LENGTH) / LENGTH
    good = [np.sin(2 * np.pi * (3 * at + phase)) + rng.normal(0, 0.05, LENGTH) for phase in rng.random(20)]
    faulty = [np.sin(2 * np.pi * (25 * at + phase)) + rng.normal(0, 0.05, LENGTH) for phase in rng.random(10)]
    np.savetxt(path, np.column_stack([np.repeat([-1, 1], [20, 10]), np.array(good + faulty)]))


class Running:
    """A program of ours that was started; what it says is read as it comes."""

    def __init__(self, *command: str, environment: Mapping[str, str] | None = None) -> None:
        self.lines: list[str] = []
        self._heard: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.process = subprocess.Popen(
            [str(BIN / command[0]), *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | (environment or {}),
        )
        self._ears = threading.Thread(target=self._listen, daemon=True)
        self._ears.start()

    def await_line(self, part: str, timeout_s: float = START_S) -> str:
        """The line with `part` in it, as soon as it is said."""
        deadline_s = time.monotonic() + timeout_s
        while (line := self._heard.get(timeout=max(deadline_s - time.monotonic(), 0.001))) is not None:
            if part in line:
                return line
        message = f"it ended without saying {part!r}:\n{''.join(self.lines)}"
        raise AssertionError(message)

    def kill(self) -> None:
        """What a crash does: SIGKILL."""
        self.process.kill()
        self._finish()

    def stop(self, timeout_s: float = 60.0) -> int:
        """Ask it to end; its exit code."""
        self.process.terminate()
        try:
            self.process.wait(timeout_s)
        finally:
            self.kill()
        return self.process.returncode

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            self._heard.put(line)
        self._heard.put(None)

    def _finish(self) -> None:
        self.process.wait()
        self._ears.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@dataclass
class Gateway:
    """A gateway's folder. `more` is appended to its TOML."""

    folder: Path
    name: str = "press-1"
    toml: str = TOML
    rate_hz: float = 50
    pipeline: str = "engine"
    bundle: str = "small-window"
    more: str = ""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        windows(self.folder / "windows.txt")
        (self.folder / "in").mkdir(exist_ok=True)
        bundles = self.data / "bundles"
        write_window_bundle(bundles / "small-window")
        write_image_bundle(bundles / "small-image")
        self.write()

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.folder / "data"

    @property
    def config(self) -> Path:
        """Its TOML."""
        return self.folder / "gateway.toml"

    def write(self) -> None:
        """Write its TOML."""
        fields = {key: getattr(self, key) for key in ("name", "rate_hz", "pipeline", "bundle")}
        self.config.write_text(self.toml.format(**fields) + self.more)

    def enrol(self) -> ed25519.Ed25519PrivateKey:
        """Make its identity, and give it the public key of a hub; the hub's private key."""
        hub = ed25519.Ed25519PrivateKey.generate()
        identity.new(self.data / "identity", self.name)
        (self.data / "identity" / "hub-keys.json").write_bytes(keys.listing([hub.public_key()]))
        return hub

    def start(self) -> Running:
        """Start the agent as a process."""
        return Running("edge-agent", "run", "--config", str(self.config))

    @contextlib.contextmanager
    def running(self) -> Iterator[Running]:
        """The agent as a process, ready; killed at the end if it still runs."""
        running = self.start()
        try:
            running.await_line(READY)
            yield running
        finally:
            running.kill()

    @contextlib.contextmanager
    def inside(self, clock: Clock | None = None) -> Iterator[Agent]:
        """The agent on a thread of this process: it starts faster, and its clock can be another one."""
        agent = Agent(config.load(self.config), clock)
        stop, ready = threading.Event(), threading.Event()
        ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

        def live() -> None:
            try:
                agent.run(stop, ready.set)
                ended.put(None)
            except BaseException as error:  # noqa: BLE001 (whatever it is, the test's thread raises it)
                ended.put(error)

        threading.Thread(target=live, daemon=True).start()
        try:
            assert ready.wait(START_S)
            yield agent
        finally:
            stop.set()
            problem = ended.get(timeout=START_S)
            gc.unfreeze()
        if problem is not None:
            raise problem

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One of its verbs, on its TOML."""
        return ask(*arguments, "--config", str(self.config))

    def query(self, sql: str) -> list[dict[str, Any]]:
        """What its database answers."""
        return place.select(config.load(self.config), sql)

    def verdicts(self) -> list[tuple[int, str, str]]:
        """Every verdict on record as (trigger, verdict, reason), by trigger."""
        rows = self.query("SELECT trigger, verdict, reason FROM verdict ORDER BY trigger")
        return [(row["trigger"], row["verdict"], row["reason"]) for row in rows]

    def journal(self, name: str = "verdicts.jsonl") -> list[dict[str, Any]]:
        """What the line was told; half a line that a kill left is no word."""
        path = self.folder / name
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def triggers(self) -> int:
        """How many triggers it has taken: the ring counts them before anything else happens."""
        path = self.data / "intake.ring"
        if not path.exists():
            return 0
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            header = ring.Header(memory)
            taken = header.next_n - 1
            header.release()
            return taken

    def made(self) -> list[StreamAccount]:
        """Its side of the account, of its own database."""
        return [_stream(row) for row in self.query("SELECT * FROM cursors")]

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Its events of one kind that the hub has not confirmed, oldest first."""
        rows = self.query("SELECT hex(body) AS body FROM events ORDER BY id")
        found = [msgspec.msgpack.decode(bytes.fromhex(row["body"])) for row in rows]
        return [event for event in found if event["kind"] == kind]

    def listing(self) -> dict[str, int]:
        """Every file below its folder with its size, but for the cache: what is derived may be made at any time."""
        cache = self.data / "cache"
        files = sorted(path for path in self.folder.rglob("*") if path.is_file() and cache not in path.parents)
        return {str(path.relative_to(self.folder)): path.stat().st_size for path in files}


def ask(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`edge-agent` with these arguments, its output in a pipe."""
    return run([PROGRAM, *arguments], environment)


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A command to its end, its output in a pipe."""
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | (environment or {}),
    )


def _stream(row: Mapping[str, Any]) -> StreamAccount:
    produced = row["next"] - 1
    received, declared = (msgspec.json.decode(row[name], type=Ranges) for name in ("committed", "declared"))
    every: Ranges = ((1, produced),) if produced else EMPTY
    held = ranges.subtract(every, ranges.union(received, declared))
    return StreamAccount(row["epoch"], row["stream"], produced, held, ranges.subtract(declared, received))
