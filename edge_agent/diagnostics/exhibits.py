"""Verdicts that want an explanation come in from the line, pictures, reasons and records of them go out, by a thread.

`show` and `note` return at once: what this thread cannot keep up with loses its picture, never its numbers, and the
exhibit says so. Windows need none: all of the latest are in a ring, whatever their verdict.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from errno import ENOSPC
from os import strerror
from pathlib import Path
from shutil import disk_usage
from time import monotonic

import msgspec

from edge_agent.clock import Clock
from edge_agent.diagnostics.allowance import Allowance
from edge_agent.diagnostics.case import Case
from edge_agent.diagnostics.exhibit import WINDOWS
from edge_agent.diagnostics.shelf import Shelf
from edge_agent.diagnostics.windows import SLOT_BYTES, WindowRing
from edge_agent.inference.model import Model
from edge_agent.judgement import Judgement
from edge_agent.sample import Sample
from edge_protocol.codes import Stream
from edge_protocol.messages import AnyRecord

log = logging.getLogger(__name__)

MAX_WAITING = 1000
"""Verdicts whose explanation waits; what comes beyond these is counted and not explained."""

MAX_PICTURES_BYTES = 16 * 1024 * 1024
"""Of samples that wait to be drawn: two frames of 1080p as a camera gives them."""

MAX_CASES = 32
WINDOWS_SHARE = 4
"""One part in so many of the budget is the latest windows'."""

EXPIRE_S = 3600.0
FIRST_EXPIRY_S = 60.0
"""Not at once: to look through what earlier runs have kept must not delay the first verdicts."""

DRAIN_S = 2.0

RESERVE_BYTES = 32 * 1024 * 1024
"""Of the disk, left to others: below it nothing is kept."""

REFILL_S = 600.0
"""Pictures may fill the budget anew in this time, not faster: a card that is written to all day does not last."""


class Exhibits:
    """The gateway's memory of why. `show` and `note` belong to any thread, `step` to one."""

    def __init__(
        self,
        folder: Path,
        *,
        budget_bytes: int,
        model: Callable[[str], Model],
        record: Callable[[Stream, AnyRecord], None],
        clock: Clock,
    ) -> None:
        """`model` is what judges for a pipeline now. A budget of 0 keeps nothing on disk, and still tells the hub."""
        self.unexplained = 0
        self._folder = folder
        self._budget_bytes = budget_bytes
        self._model = model
        self._record = record
        self._clock = clock
        self._cases: dict[tuple[bytes, bytes], Case] = {}
        self._waiting: deque[tuple[Judgement, Sample | None, bool]] = deque()
        self._pictures_bytes = 0
        self._due = threading.Condition()
        self._shelf: Shelf | None = None
        self._ring: WindowRing | None = None
        self._allowance = Allowance(budget_bytes, REFILL_S)
        self._is_failing = False
        self._next_expiry_us = clock.mono_us() + round(FIRST_EXPIRY_S * 1e6)

    def show(self, judgement: Judgement, sample: Sample) -> None:
        """Explain an NG or a REVIEW."""
        size = _size_bytes(judgement, sample)
        with self._due:
            if self._pictures_bytes and self._pictures_bytes + size > MAX_PICTURES_BYTES:
                self._put(_without_heatmap(judgement), None, is_shown=True)
            elif self._put(judgement, sample, is_shown=True):
                self._pictures_bytes += size

    def note(self, judgements: Sequence[Judgement]) -> None:
        """Remember the reasons of windows, whatever their verdict."""
        windows = [each for each in judgements if each.prediction is not None and self._is_window(each)]
        with self._due:
            for judgement in windows:
                self._put(judgement, None, is_shown=False)

    def run(self, stop: threading.Event, idle_s: float = 0.5) -> None:
        """Explain until `stop` is set, and then for at most `DRAIN_S`: a stop does not wait for pictures."""
        while not stop.is_set():
            self.expire()
            self.step(idle_s)
        end_s = monotonic() + DRAIN_S
        while monotonic() < end_s and self.step(0):
            pass
        self._forget()

    def expire(self) -> None:
        """Once an hour, remove what is past its date: of a line that finds nothing more as well."""
        now_us = self._clock.mono_us()
        if now_us < self._next_expiry_us or not self._folder.is_dir():
            return
        self._next_expiry_us = now_us + round(EXPIRE_S * 1e6)
        with suppress(OSError):  # tried again in an hour, and said of the next one that is to be kept
            self._open_shelf().expire(self._clock.wall_us())

    def step(self, timeout_s: float) -> bool:
        """Explain one verdict; False when none came within `timeout_s`."""
        with self._due:
            if not self._waiting:
                self._due.wait(timeout_s)
            if not self._waiting:
                return False
            judgement, sample, is_shown = self._waiting.popleft()
        try:
            self._explain(judgement, sample, is_shown=is_shown)
        except Exception:  # an explanation must never stop the line
            log.exception("trigger %d of %s could not be explained", judgement.trigger.n, judgement.pipeline)
            self.unexplained += 1
        finally:
            if sample is not None:
                with self._due:
                    self._pictures_bytes -= _size_bytes(judgement, sample)
        return True

    def _put(self, judgement: Judgement, sample: Sample | None, *, is_shown: bool) -> bool:
        if len(self._waiting) >= MAX_WAITING:
            self.unexplained += 1
            return False
        self._waiting.append((judgement, sample, is_shown))
        self._due.notify()
        return True

    def _explain(self, judgement: Judgement, sample: Sample | None, *, is_shown: bool) -> None:
        case = self._case(judgement)
        if case is None:
            self.unexplained += 1
            return
        exhibit = case.explain(judgement)
        if is_shown:
            self._record(Stream.CAPTURES, exhibit.explanation)
        if not is_shown:
            self._keep(lambda: self._open_ring().put(exhibit))
        elif not case.is_window and self._budget_bytes:
            picture, why_not = self._draw(case, judgement, sample)
            shown = msgspec.structs.replace(exhibit, no_picture=why_not)
            self._keep(lambda: self._open_shelf().put(shown, picture))

    def _draw(self, case: Case, judgement: Judgement, sample: Sample | None) -> tuple[bytes, str]:
        if not self._allowance.is_left(self._clock.mono_us()):
            return b"", f"more than [store] exhibits_mb within {REFILL_S / 60:.0f} minutes: the disk is spared"
        picture, why_not = case.draw(judgement, sample)
        self._allowance.spend(len(picture))
        return picture, why_not

    def _keep(self, put: Callable[[], None]) -> None:
        if not self._budget_bytes:
            return
        try:
            if disk_usage(self._folder.parent).free < RESERVE_BYTES:
                # What the database gives up on a full disk is for its log, not for pictures.
                raise OSError(ENOSPC, strerror(ENOSPC))  # noqa: TRY301 (one way to fail, one way to say it)
            put()
        except OSError as error:  # a full disk: verdicts go on, and so do explanations once there is room
            if not self._is_failing:
                log.warning("explanations cannot be kept: %s", error.strerror)
            self._is_failing = True
            self._forget()
        else:
            self._is_failing = False

    def _forget(self) -> None:
        """Look at the disk anew before the next one: who made room may have taken the folder too."""
        self._shelf = None
        if self._ring is not None:
            self._ring.close()
            self._ring = None

    def _open_shelf(self) -> Shelf:
        if self._shelf is None:
            self._shelf = Shelf(self._folder, self._budget_bytes - self._budget_bytes // WINDOWS_SHARE)
        return self._shelf

    def _open_ring(self) -> WindowRing:
        self._open_shelf()
        if self._ring is None:
            self._ring = WindowRing(self._folder / WINDOWS, max(self._budget_bytes // WINDOWS_SHARE // SLOT_BYTES, 1))
        return self._ring

    def _is_window(self, judgement: Judgement) -> bool:
        case = self._case(judgement)
        return case is not None and case.is_window

    def _case(self, judgement: Judgement) -> Case | None:
        """What is needed of the model that judged; it may have been exchanged since."""
        key = (judgement.context.digest, judgement.context.operating_point)
        with self._due:
            if key in self._cases:
                return self._cases[key]
        # Made outside of the lock: the line must not wait for it.
        model = self._model(judgement.pipeline)
        context = model.context(judgement.pipeline)
        if (context.digest, context.operating_point) != key:
            return None
        case = Case(model.manifest, model.operating_point, model.reference)
        with self._due:
            while len(self._cases) >= MAX_CASES:
                self._cases.pop(next(iter(self._cases)))
            return self._cases.setdefault(key, case)


def _without_heatmap(judgement: Judgement) -> Judgement:
    if judgement.prediction is None:
        return judgement
    return replace(judgement, prediction=replace(judgement.prediction, heatmap=None))


def _size_bytes(judgement: Judgement, sample: Sample) -> int:
    """What is held for a picture to be drawn."""
    heatmap = None if judgement.prediction is None else judgement.prediction.heatmap
    return sample.size_bytes + (heatmap.nbytes if heatmap is not None else 0)
