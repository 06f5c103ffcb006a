"""A line whose source counts its parts, to be killed at a moment that it was told: real ring, database and pipeline."""

import os
import signal
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from edge_agent import recovery
from edge_agent.clock import Clock
from edge_agent.inference.intake import Intake
from edge_agent.inference.model import Model
from edge_agent.inference.pipeline import Pipeline
from edge_agent.judgement import Judgement
from edge_agent.monitoring.faults import Faults
from edge_agent.sample import Channel, Sample, Trigger
from edge_agent.station import Station
from edge_agent.store import Store
from edge_agent.telemetry.outbox import Outbox
from edge_agent.telemetry.recorder import Recorder
from edge_protocol.codes import Reason
from tests.edge_agent.counted import Counted

LOST_EVERY = 4
"""Of so many parts one never comes."""

MOMENTS = ("grabbed", "hole taken", "hole noted", "noted", "at any moment", "in order")


def die() -> None:
    """As a crash does it: nothing is tidied up."""
    os.kill(os.getpid(), signal.SIGKILL)


class Belt(Counted):
    """A source that counts its parts, and goes on counting whatever becomes of us; it ends the line after `parts`."""

    def __init__(self, folder: Path, moment: str, parts: int, stop: threading.Event) -> None:
        self._file = os.open(folder / "number", os.O_RDWR | os.O_CREAT)
        self.number = int(os.pread(self._file, 8, 0) or 0)
        self._moment = moment
        self._left = parts
        self._stop = stop

    @property
    def is_last(self) -> bool:
        """Whether this is the part at which it ends."""
        return self._left <= 0

    def grab(self, _trigger: Trigger) -> Sample:
        """The next part, or the one after it. From here on it is gone from the belt."""
        self._left -= 1
        self.number += 1
        # Before the last one there is a hole in any case: there must be something between its moments.
        self.number += self.number % LOST_EVERY == 0 or self.is_last
        os.pwrite(self._file, b"%08d" % self.number, 0)
        if self.is_last and self._moment == "grabbed":
            die()
        if self.is_last and self._moment == "in order":
            self._stop.set()
        values = np.sin(np.arange(64) / 3) + np.random.default_rng(self.number).normal(0, 0.01, 64)
        return Sample({"signal": Channel(values, 0)}, number=self.number)


class MortalIntake(Intake):
    """A ring whose process ends at a moment of the last part."""

    belt: Belt
    moment = ""

    def take(self, pipelines: Iterable[str], at_us: int, mono_us: int, **texts: str) -> Trigger:
        """Take, and perhaps die of it."""
        trigger = super().take(list(pipelines), at_us, mono_us, **texts)
        if self.belt.is_last and self.moment == "hole taken":
            die()
        return trigger

    def number(self, n: int, pipelines: Iterable[str], number: int) -> None:
        """Note, and perhaps die of it."""
        super().number(n, pipelines, number)
        if self.belt.is_last and self.moment == ("noted" if number == self.belt.number else "hole noted"):
            die()


def main(folder: Path, moment: str, parts: int) -> None:
    """Work until the moment."""
    clock, stop, done = Clock(), threading.Event(), threading.Event()
    store = Store.open(folder / "lineside.db", quota_bytes=64 << 20, clock=clock)
    outbox = Outbox(store, "press-1")
    after, _ = outbox.last_verdict()
    MortalIntake.moment, MortalIntake.belt = moment, Belt(folder, moment, parts, stop)
    intake = MortalIntake.open(
        folder / "intake.ring", slots=256, boot=clock.time().boot, epoch=store.epoch, after=after
    )
    found = recovery.recover(store, outbox, intake, clock, ["seal"])
    recorder = Recorder(outbox, intake, clock, commit_s=0.02, commit_rows=5)

    def emit(judgement: Judgement) -> None:
        intake.answer(judgement)
        recorder.put(judgement)

    model = Model.load(folder / "bundle")
    pipeline = Pipeline("seal", model, guard=lambda _look: Reason.NONE, emit=emit, clock=clock)
    belt = MortalIntake.belt
    station = Station(
        "belt", belt, {"bench": belt}, {"bench": [pipeline]}, intake=intake, clock=clock,
        faults=Faults(lambda _stream, _record: None), recorded=lambda: {} if store.was_clean else outbox.numbers(),
    )  # fmt: skip
    station.resume(found.left)

    def judge() -> None:
        while pipeline.step(0.05) or not done.is_set():
            recorder.step()

    judging = threading.Thread(target=judge, daemon=True)
    judging.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    station.run(stop)
    done.set()
    judging.join()
    recorder.flush()
    outbox.forget_numbers()
    intake.close()
    store.finish()
    store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
