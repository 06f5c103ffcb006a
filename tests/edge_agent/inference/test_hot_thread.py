import gc
import os
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import cv2
import numpy as np
import pytest

from edge_agent.clock import FixedClock
from edge_agent.crew import Crew
from edge_agent.delivery import Delivery
from edge_agent.inference.intake import Intake
from edge_agent.inference.model import Model
from edge_agent.inference.pipeline import Pipeline
from edge_agent.judgement import Judgement
from edge_agent.sample import Channel, Sample, Trigger
from edge_agent.serving.metrics import Metrics
from edge_agent.settings import Guard as GuardSettings
from edge_agent.sources.guard import Guard
from edge_agent.store import Store
from edge_agent.telemetry.outbox import Outbox
from edge_agent.telemetry.recorder import Recorder
from tests.edge_agent.inference import small_bundles

HEIGHT, WIDTH = 1080, 1920
FRAME_BYTES = HEIGHT * WIDTH * 3
PARTS = 12
SLOW = ("logging", "json", "msgspec", "apsw", "sqlite3", "edge_agent.store", "edge_agent.telemetry.outbox", "warnings")
"""What has no business on the thread that judges: words, rows and their databases."""


class Line:
    """A pipeline for 1080p with every guard on, from trigger to the recorder, all of it real."""

    def __init__(self, folder: Path) -> None:
        self.clock = FixedClock()
        rng = np.random.default_rng(0)
        base = cv2.resize(rng.integers(40, 200, (9, 16, 3), np.uint8), (WIDTH, HEIGHT))
        self.frames = [cv2.add(base, np.full_like(base, n)) for n in range(4)]
        cv2.imwrite(str(folder / "taught.png"), self.frames[0])
        self.store = Store.open(folder / "lineside.db", quota_bytes=16 * 2**20, clock=self.clock)
        self.intake = Intake.open(folder / "intake.ring", boot="boot-1", epoch=1)
        recorder = Recorder(Outbox(self.store, "press-1"), self.intake, self.clock)
        self.metrics = Metrics()
        self.delivery = Delivery(
            {"seal": []}, intake=self.intake, recorder=recorder, clock=self.clock, answered=lambda _judgement: None
        )
        model = Model.load(small_bundles.write_image_bundle(folder / "image"))
        limits = GuardSettings(placed_like=folder / "taught.png", duplicate_within=3, frozen_after=3, gap_s=9.0)
        self.pipeline = Pipeline(
            "seal", model, guard=Guard(limits, "image", model.reference).check, emit=self._emit, clock=self.clock,
            observe=self.metrics.observer("seal"), exhibit=lambda _judgement, _sample: None,
        )  # fmt: skip
        self.judged: list[Judgement] = []

    def take(self, n: int) -> tuple[Trigger, Sample]:
        """The next part, as a camera delivers it."""
        trigger = self.intake.take(["seal"], self.clock.wall_us(), self.clock.mono_us())
        return trigger, Sample({"image": Channel(self.frames[n % len(self.frames)], 0)})

    def judge(self, n: int) -> None:
        """One part from trigger to recorder."""
        self.pipeline.admit(*self.take(n))
        assert self.pipeline.step(0)

    def close(self) -> None:
        """End."""
        self.intake.close()
        self.store.close()

    def _emit(self, judgement: Judgement) -> None:
        self.delivery.emit(judgement)
        self.metrics.count_verdict(judgement.pipeline, judgement.verdict)
        self.judged.append(judgement)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    """A line that is warm."""
    line = Line(tmp_path)
    for n in range(PARTS):
        line.judge(n)
    yield line
    line.close()


def test_a_part_allocates_nothing_of_the_size_of_a_frame(line: Line) -> None:
    """
    From a decoded 1080p frame to the recorder both threads together ask for less than a hundredth of a frame at a
    time, and keep nothing. What a JPEG is decoded to is the one picture that a part makes, on the source's thread.
    """
    gc.collect()
    tracemalloc.start()
    peaks = []
    for n in range(PARTS):
        trigger, sample = line.take(n)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        line.pipeline.admit(trigger, sample)
        line.pipeline.step(0)
        after, peak = tracemalloc.get_traced_memory()
        peaks.append((peak - before, after - before))
    tracemalloc.stop()

    assert max(peak for peak, _ in peaks) < FRAME_BYTES / 100
    assert sum(kept for _, kept in peaks) / PARTS < 10_000
    assert {judgement.reason.value < 100 for judgement in line.judged} == {True}


def called_modules(work: Callable[[], Any]) -> set[str]:
    """The modules of everything that `work` calls on its thread, Python or C."""
    names: set[str] = set()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        name = getattr(argument, "__module__", None) if event == "c_call" else frame.f_globals.get("__name__")
        names.add(name or "")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return names


@pytest.mark.parametrize("half", ["admit", "step"])
def test_nothing_is_written_down_on_the_way(line: Line, half: str) -> None:
    """Neither thread logs, speaks JSON or touches a database for a part; what is recorded is another thread's."""

    def work() -> None:
        trigger, sample = line.take(1)
        if half == "admit":
            names.update(called_modules(lambda: line.pipeline.admit(trigger, sample)))
            line.pipeline.step(0)
        else:
            line.pipeline.admit(trigger, sample)
            names.update(called_modules(lambda: line.pipeline.step(0)))

    names: set[str] = set()
    work()

    assert "edge_agent.inference.pipeline" in names
    assert [name for name in names if name.startswith(SLOW)] == []


@pytest.mark.slow
def test_a_short_processor_is_shared_by_priority() -> None:
    """On one processor a thread that gives way gets a fraction of what one that does not gets, and is never starved."""
    processor = {min(os.sched_getaffinity(0))}
    work, counts, stop = bytes(1 << 20), {0: 0, 9: 0}, threading.Event()
    crew = Crew()

    def keep(nice: int) -> None:
        os.sched_setaffinity(threading.get_native_id(), processor)
        while not stop.is_set():
            zlib.crc32(work)
            counts[nice] += 1
            if sum(counts.values()) >= 4000:
                stop.set()

    for nice in counts:
        crew.start("race", f"nice-{nice}", lambda nice=nice: keep(nice), nice=nice)  # type: ignore[misc]
    stop.wait(60)
    crew.join("race")

    assert counts[0] > 2 * counts[9] > 0
