"""A live stream comes in, read by a thread of its own; each trigger gets a frame that came after it, and gets it alone.

A camera that is away is opened again with growing pauses. Never an old frame for a new part: what has no frame of its
own is a fault that says why.
"""

import random
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge_agent.clock import system_mono_us
from edge_agent.errors import SourceError
from edge_agent.sample import Channel, Sample, Trigger
from edge_agent.settings import CameraSource as Settings
from edge_agent.sources.stream import OpenStream, Picture, Stream, open_camera
from edge_protocol.codes import Reason, Verdict

MS = 1000
S = 1_000_000

GRACE_US = 3 * S
"""A stream that was only just asked for is not yet away."""

ROWS = 64
"""A frame is compared with the one before on about this many of its rows: the sensor's noise is in all of them."""

_LEAST_PAUSE_S = 0.5
_CLOSE_S = 2.0
"""How long `close` waits for the reading thread; one that OpenCV holds longer lets go of the stream when it may."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture with its number since the start and the time when it was here."""

    picture: Picture
    number: int
    mono_us: int


class Reader:
    """The newest frame of a stream, kept new by a thread of its own."""

    def __init__(self, settings: Settings, open_stream: OpenStream, now_us: Callable[[], int] = system_mono_us) -> None:
        self._settings = settings
        self._open_stream = open_stream
        self._now_us = now_us
        self._newest: Frame | None = None
        self._frames = 0
        self._still = _Stillness(round(settings.frozen_s * S))
        self._problem = "no frame has come yet"
        self._is_away = False
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"camera-{settings.name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, or leave it to end by itself when its camera answers."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S)

    def newest(self) -> Frame | None:
        """The last frame that came."""
        with self._changed:
            return self._newest

    def wait_for(self, is_wanted: Callable[[Frame], bool], timeout_s: float) -> Frame | None:
        """The first frame that is wanted; None when none came in time, and at once while the stream is away."""

        def found() -> bool:
            return self._newest is not None and is_wanted(self._newest)

        with self._changed:
            self._changed.wait_for(lambda: found() or self._is_away or self._stop.is_set(), timeout_s)
            return self._newest if found() else None

    def problem(self) -> tuple[Reason, str]:
        """What is wrong with the stream now, or NONE."""
        with self._changed:
            problem, newest, equal_us = self._problem, self._newest, self._still.frozen_us
        silent_us = self._now_us() - newest.mono_us if newest is not None else 0
        if not problem and silent_us > self._settings.silent_s * S:
            problem = f"no frame for {silent_us / S:.1f} s"
        if problem:
            return Reason.SOURCE_FAULT, problem
        return (Reason.FROZEN, f"equal frames for {equal_us / S:.1f} s") if equal_us else (Reason.NONE, "")

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            before = self._frames
            try:
                self._follow(self._open_stream())
            except SourceError as error:
                self._say(str(error))
            failures = 0 if self._frames > before else failures + 1
            self._stop.wait(pause_s(failures, self._settings.backoff_s))

    def _follow(self, stream: Stream) -> None:
        """Read until the stream ends."""
        try:
            while not self._stop.is_set():
                picture = stream.read()
                if picture is None:
                    self._say("the stream ended, or was silent for too long; it is opened again")
                    return
                self._show(picture)
        finally:
            stream.close()

    def _show(self, picture: Picture) -> None:
        now_us = self._now_us()
        digest = zlib.crc32(np.ascontiguousarray(picture[:: max(1, picture.shape[0] // ROWS)]).data)
        with self._changed:
            self._frames += 1
            self._still.see(digest, now_us)
            self._newest = Frame(picture, self._frames, now_us)
            self._problem, self._is_away = "", False
            self._changed.notify_all()

    def _say(self, problem: str) -> None:
        with self._changed:
            self._problem, self._is_away = problem, True
            self._changed.notify_all()


class _Stillness:
    """For how long a stream has shown the same frame, once that is longer than it may."""

    def __init__(self, limit_us: int) -> None:
        self._limit_us = limit_us
        self._digest = -1
        self._since_us = 0
        self.frozen_us = 0

    def see(self, digest: int, now_us: int) -> None:
        if digest != self._digest:
            self._digest, self._since_us = digest, now_us
        same_us = now_us - self._since_us
        self.frozen_us = same_us if self._limit_us and same_us >= self._limit_us else 0


class CameraSource:
    """A camera that may come and go."""

    def __init__(
        self,
        settings: Settings,
        open_stream: OpenStream | None = None,
        now_us: Callable[[], int] = system_mono_us,
    ) -> None:
        self._settings = settings
        self._open_stream = open_stream or (lambda: open_camera(settings))
        self._now_us = now_us
        self._reader: Reader | None = None
        self._opened_us = 0
        self._taken = 0
        self._announced = 0

    def open(self) -> None:
        """Begin to read in the background. A camera that is away at the start is no error: it may come.

        Raises:
            SourceError: it was away before, and still is.
        """
        if self._reader is None:
            self._reader = Reader(self._settings, self._open_stream, self._now_us)
            self._opened_us, self._taken, self._announced = self._now_us(), 0, 0
            self._reader.start()
        else:
            self._check(self._now_us())

    def waiting(self, mono_us: int) -> bool:
        """Whether a frame is there that no trigger has taken: with a source trigger each frame is a part.

        Raises:
            SourceError: the camera has gone away.
        """
        self._check(mono_us)
        newest = self._reader.newest() if self._reader is not None else None
        self._announced = newest.number if newest is not None else 0
        return self._announced > self._taken

    def grab(self, trigger: Trigger) -> Sample:
        """The first frame after the trigger, else one that is not too old; never one that an earlier trigger had.

        A frame that `waiting` spoke of is what the trigger came for, and is as good as a later one.
        """
        reader = self._reader
        if reader is None:
            return Sample(fault=Reason.SOURCE_FAULT, detail="the camera is not open")
        timeout_s = max(0.0, self._settings.fresh_ms / MS - (self._now_us() - trigger.mono_us) / S)
        frame = reader.wait_for(lambda frame: self._is_after(frame, trigger), timeout_s)
        frame = frame or self._young_enough(reader.newest(), trigger)
        reason, detail = reader.problem()
        if frame is None and reason is Reason.NONE:
            reason, detail = Reason.SOURCE_FAULT, f"no frame of its own within {self._settings.fresh_ms:.0f} ms"
        if frame is None or reason is Reason.FROZEN:
            return Sample(fault=reason, detail=detail)
        self._taken = frame.number
        return Sample({"image": Channel(frame.picture, frame.mono_us)})

    def done(self, trigger: Trigger, verdict: Verdict) -> None:
        """Nothing is left behind."""

    def close(self) -> None:
        """Close the camera."""
        if self._reader is not None:
            self._reader.stop()
            self._reader = None

    def _is_after(self, frame: Frame, trigger: Trigger) -> bool:
        is_meant = frame.mono_us >= trigger.mono_us or self._taken < self._announced <= frame.number
        return frame.number > self._taken and is_meant

    def _young_enough(self, frame: Frame | None, trigger: Trigger) -> Frame | None:
        if frame is None or frame.number <= self._taken:
            return None
        return frame if trigger.mono_us - frame.mono_us <= self._settings.max_age_ms * MS else None

    def _check(self, mono_us: int) -> None:
        """Raise SourceError while no stream is there."""
        if self._reader is None or mono_us - self._opened_us < GRACE_US:
            return
        reason, detail = self._reader.problem()
        if reason is Reason.SOURCE_FAULT:
            message = f"source {self._settings.name!r}: {detail}"
            raise SourceError(message, "look at the camera, its power and its network; it is tried again")


def pause_s(failures: int, most_s: float) -> float:
    """How long to wait before a stream is opened again: doubling, never above `most_s`, never two alike."""
    return float(min(most_s, _LEAST_PAUSE_S * 2.0 ** min(failures, 16)) * random.uniform(0.5, 1.0))  # noqa: S311 (jitter)
