"""A whole agent in this process whose source has its frames in memory: they come in, verdicts go out and on record.

Everything but the source is what every gateway runs, a file output included. Never paces: while frames flow the next
part is there as soon as the line takes it.
"""

import json
import re
import shutil
import threading
import urllib.request
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from time import perf_counter, sleep
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edge_agent import config, settings
from edge_agent.agent import Agent
from edge_agent.sample import Channel, Sample, Trigger
from edge_agent.sources import kinds
from edge_protocol.codes import Verdict
from scripts.benches.failure import BenchError
from scripts.benches.ground.supplies import Picture

Datum: TypeAlias = Picture | bytes | npt.NDArray[np.float64]

START_S = 30.0
LEAST_FRAMES = 12
"""Of a slice, however slow the machine: more than are under way at once."""

_LOOK_S = 0.001
_STAGE = re.compile(r'^lineside_stage_seconds_sum\{[^}]*stage="(\w+)"[^}]*\} (\S+)$', re.MULTILINE)
_TOML = """\
[gateway]
id = "bench"

[[sources]]
name = "camera"
kind = "folder"     # its row in the table of kinds is that of `Frames` while the agent is made
path = "."

[[triggers]]
name = "belt"
kind = "source"
source = "camera"

[[outputs]]
name = "journal"
kind = "file"
path = "verdicts.jsonl"

[[pipelines]]
name = "surface"
bundle = "surface"
source = "camera"
trigger = "belt"
outputs = ["journal"]
guard = { blur_share = 0 }     # small pictures enlarged: less sharp than those the model was taught on
"""


class Frames:
    """A source that hands out the same data in turn while it flows, and notes when each part had its verdict."""

    def __init__(self, data: Sequence[Datum], channel: str = "image") -> None:
        self._data = cycle(data)
        self._channel = channel
        self.flows = False
        self.taken = 0
        self.done_s: list[float] = []
        self.verdicts: list[Verdict] = []

    def open(self) -> None:
        """Nothing to open."""

    def waiting(self, mono_us: int) -> bool:  # noqa: ARG002 (the seam's signature)
        """Whether frames flow."""
        return self.flows

    def grab(self, trigger: Trigger) -> Sample:
        """The next frame."""
        self.taken += 1
        return Sample({self._channel: Channel(next(self._data), trigger.mono_us)}, part=f"P{trigger.n:06d}")

    def done(self, trigger: Trigger, verdict: Verdict) -> None:  # noqa: ARG002 (the seam's signature)
        """The line has been told."""
        self.done_s.append(perf_counter())
        self.verdicts.append(verdict)

    def close(self) -> None:
        """Nothing to close."""


class Line:
    """One model at work in a folder. Make it, ask for `parts_per_s` as often as wanted, `close` it."""

    def __init__(self, folder: Path, bundle: Path, data: Sequence[Datum], channel: str = "image") -> None:
        self._folder = folder
        folder.mkdir(parents=True)
        shutil.copytree(bundle, folder / "data" / "bundles" / "surface")
        (folder / "gateway.toml").write_text(_TOML)
        self.frames = Frames(data, channel)
        self._data = folder / "data"
        agent = self._make(config.load(folder / "gateway.toml"))
        self._stop, ready = threading.Event(), threading.Event()
        self._thread = ThreadPoolExecutor(1)
        self._run: Future[None] = self._thread.submit(agent.run, self._stop, ready.set)
        ready.wait(START_S)

    @property
    def port(self) -> int:
        """Where its neighbours may ask."""
        address = json.loads((self._folder / "data" / "serving.json").read_bytes())
        port: int = address["port"]
        return port

    def parts_per_s(self, seconds: float) -> float:
        """Let frames flow for a while; the rate of verdicts while they did.

        Raises:
            BenchError: the agent has stopped.
        """
        frames = self.frames
        frames.done_s.clear()
        before, start_s = frames.taken, perf_counter()
        frames.flows = True
        while perf_counter() < start_s + seconds or len(frames.done_s) < LEAST_FRAMES:
            self._check()
            sleep(_LOOK_S)
        end_s = perf_counter()
        frames.flows = False
        while len(frames.done_s) < frames.taken - before:
            self._check()
            sleep(_LOOK_S)
        at_s = [each for each in frames.done_s if each <= end_s]
        return (len(at_s) - 1) / (at_s[-1] - at_s[0])

    def stage_s(self) -> dict[str, float]:
        """Seconds that its parts spent in each stage so far, as its own metrics tell."""
        address = json.loads((self._data / "serving.json").read_text())
        with urllib.request.urlopen(f"http://{address['host']}:{address['port']}/metrics") as answer:
            told = answer.read().decode()
        return {stage: float(value) for stage, value in _STAGE.findall(told)}

    def close(self) -> None:
        """End the agent in order. May be called twice."""
        self._stop.set()
        self._run.result()
        self._thread.shutdown()

    def _make(self, loaded: config.Config) -> Agent:
        row = kinds.KINDS[settings.FolderSource]
        kinds.KINDS[settings.FolderSource] = lambda _table, *_more: self.frames
        try:
            return Agent(loaded)
        finally:
            kinds.KINDS[settings.FolderSource] = row

    def _check(self) -> None:
        if self._run.done():
            message = f"the agent stopped: {self._run.exception()}"
            raise BenchError(message, "its log above says more")
