"""A pipeline that judges 1080p frames at a steady pace while its model is changed again and again.

Two releases take turns; each is loaded anew from its slot by the agent's loader, beside the line that runs. Counted is
what came out for each trigger, and how long the line was silent at each change.
"""

import statistics
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from time import perf_counter, sleep

import numpy as np

from edge_agent.clock import Clock
from edge_agent.inference import memory
from edge_agent.inference.cache import Cache
from edge_agent.inference.model import Model
from edge_agent.inference.pipeline import Pipeline
from edge_agent.judgement import Judgement
from edge_agent.sample import Channel, Sample, Trigger
from edge_agent.updates.loading import Loading
from edge_protocol.codes import Reason
from scripts.benches.failure import BenchError
from scripts.benches.ground import supplies
from scripts.benches.ground.supplies import Picture, say
from scripts.day import releases

SWAPS = 200
RATE_HZ = 30
LEAST_BETWEEN = 4
"""Verdicts of one model before the next takes over: so many are under way at once."""

STEP_S = 0.1
START_S = 60.0


class Line:
    """The two threads of a pipeline at a steady pace, and every verdict with its moment."""

    def __init__(self, model: Model, frames: Sequence[Picture]) -> None:
        self.verdicts: list[tuple[int, str, float]] = []
        self.taken = 0
        self._frames = frames
        self._clock = Clock()
        self.pipeline = Pipeline("surface", model, guard=lambda _look: Reason.NONE, emit=self._told, clock=self._clock)
        self._ends, self._quiet = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=self._admit), threading.Thread(target=self._judge)]

    def start(self) -> None:
        """Let parts come."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No more parts; what was taken is judged to its end."""
        self._ends.set()
        self._threads[0].join()
        self._quiet.set()
        self._threads[1].join()

    def judged_by(self, digest: str) -> int:
        """How many of the latest verdicts in a row are by this model."""
        n = 0
        for _, by, _ in reversed(self.verdicts[-LEAST_BETWEEN:]):
            if by != digest:
                break
            n += 1
        return n

    def _admit(self) -> None:
        start_s = perf_counter()
        while not self._ends.is_set():
            sleep(max(0.0, start_s + self.taken / RATE_HZ - perf_counter()))
            self.taken += 1
            now_us = self._clock.mono_us()
            frame = self._frames[self.taken % len(self._frames)]
            sample = Sample({"image": Channel(frame, now_us)})
            self.pipeline.admit(Trigger(1, self.taken, self._clock.wall_us(), now_us), sample)

    def _judge(self) -> None:
        while self.pipeline.step(STEP_S) or not self._quiet.is_set():
            pass

    def _told(self, judgement: Judgement) -> None:
        self.verdicts.append((judgement.trigger.n, judgement.context.digest.hex(), perf_counter()))


def measure(folder: Path, count: int = SWAPS) -> dict[str, float]:
    """The figures of `count` changes.

    Raises:
        BenchError: a model does not load, or the line stands still.
    """
    source = supplies.BUNDLES / supplies.SURFACE
    slots = [source, releases.good(source, folder / "revised")]
    cache = Cache(folder / "cache", {})
    line = Line(Model.load(slots[0], cache=cache), list(supplies.frames(folder, 4)))
    line.start()
    try:
        for n in range(1, count + 1):
            model = _loaded(slots[n % 2], cache)
            line.pipeline.swap(model)
            _wait(lambda digest=model.digest: line.judged_by(digest) >= LEAST_BETWEEN)  # type: ignore[misc]
            memory.release()
    finally:
        line.stop()
    given = Counter(n for n, _, _ in line.verdicts)
    gaps, pace_ms = _gaps_ms(line.verdicts)
    say(
        f"{len(gaps)} swaps in {line.taken} parts: {pace_ms:.1f} ms from verdict to verdict, "
        f"{statistics.median(gaps):+.1f} at a swap, at most {max(gaps):+.1f}"
    )
    return {
        "swap_lost": float(sum(n not in given for n in range(1, line.taken + 1))),
        "swap_duplicated": float(sum(times > 1 for times in given.values())),
        "swap_gap_ms_p50": statistics.median(gaps),
        "swap_gap_frames_p99": float(np.percentile(gaps, 99)) * RATE_HZ / 1000,
    }


def _gaps_ms(verdicts: Sequence[tuple[int, str, float]]) -> tuple[list[float], float]:
    """What each change of the model added to the usual time between two verdicts, and that time."""
    steps = [(one[1] != other[1], (other[2] - one[2]) * 1000) for one, other in pairwise(verdicts)]
    pace_ms = float(np.median([took for changed, took in steps if not changed]))
    return [took - pace_ms for changed, took in steps if changed], pace_ms


def _loaded(slot: Path, cache: Cache) -> Model:
    loading = Loading(slot, variant="", cache=cache)
    _wait(loading.poll)
    if loading.model is None:
        message = f"{slot.name} does not load: {loading.problem}"
        raise BenchError(message, "build the models again: scripts/build_models")
    return loading.model


def _wait(until: Callable[[], bool]) -> None:
    deadline_s = perf_counter() + START_S
    while not until():
        if perf_counter() > deadline_s:
            message = "the line stands still"
            raise BenchError(message, "this machine may be too busy: try again when it is quiet")
        sleep(0.005)
