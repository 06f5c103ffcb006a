"""Recorded signals come in as if they were measured now: each trigger gets the next window of them.

Never claims to be live: its samples say `replayed`. What is missing in the recording is NaN in the window, and counted.
"""

import logging
from datetime import UTC, datetime

import numpy as np

from edge_agent.errors import SourceError
from edge_agent.sample import Channel, Sample, Trigger
from edge_agent.settings import RecordedSource as Settings
from edge_agent.sources.recording import Recording, Values, load
from edge_protocol.codes import Reason, Verdict

log = logging.getLogger(__name__)

WINDOWS = 2
"""Dimensions of what was cut into windows already."""


class RecordedSource:
    """A recording that is played window by window; windows are counted on when it begins again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._hop = settings.hop or settings.length
        self._recording: Recording | None = None
        self._windows = 0
        self._number = 0

    def open(self) -> None:
        """Load the recording.

        Raises:
            SourceError: it is missing, damaged, or not what the settings say of it.
        """
        table = self._settings
        try:
            recording = load(table.path, table.columns, table.time_column, table.rate_hz)
            self._windows = self._count_windows(recording)
            names = table.channels or tuple(recording.signals)
            signals = dict(zip(names, recording.signals.values(), strict=True))
        except Exception as error:  # numpy and zipfile raise whatever their parsers meet in a damaged file
            message = f"source {table.name!r}: {table.path}: {error}"
            raise SourceError(message, "correct `path`, `columns`, `channels`, `time_column` or `length`") from error
        if recording.left_out:
            log.warning("%s: %d rows that do not go on in time were left out", table.path, recording.left_out)
        self._recording = Recording(signals, recording.start_us)

    def waiting(self, mono_us: int) -> bool:  # noqa: ARG002 (a file waits for nobody)
        """Whether there is a window left."""
        return self._recording is not None and (self._settings.loop or self._number < self._windows)

    def grab(self, trigger: Trigger) -> Sample:
        """The next window, its part named by file and number where the line does not name it."""
        recording = self._recording
        if recording is None or not self.waiting(trigger.mono_us):
            problem = "it has been played to its end" if recording is not None else "it is not open"
            return Sample(fault=Reason.SOURCE_FAULT, detail=f"{self._settings.path}: {problem}")
        window, self._number = self._number % self._windows, self._number + 1
        taken_us = recording.start_us + round(window * self._hop / self._settings.rate_hz * 1e6)
        cuts = {name: self._cut(signal, window) for name, signal in recording.signals.items()}
        channels = {name: _channel(values, trigger.mono_us, taken_us) for name, values in cuts.items()}
        missing = max(channel.missing for channel in channels.values())
        return Sample(
            channels,
            part=trigger.part or f"{self._settings.path.stem}-{self._number:06d}",
            number=self._number if trigger.number is None else trigger.number,
            detail=f"{missing} samples are missing from {_words(taken_us)} on" if missing else "",
            replayed=True,
        )

    def done(self, trigger: Trigger, verdict: Verdict) -> None:
        """Nothing is left behind."""

    def close(self) -> None:
        """Let go of the recording."""
        self._recording = None

    def _cut(self, signal: Values, window: int) -> Values:
        start = window * self._hop
        return signal[window] if signal.ndim == WINDOWS else signal[start : start + self._settings.length]

    def _count_windows(self, recording: Recording) -> int:
        shape = next(iter(recording.signals.values())).shape
        if len(shape) == WINDOWS and shape[1] != self._settings.length:
            message = f"its windows have {shape[1]} samples, `length` is {self._settings.length}"
            raise ValueError(message)
        windows: int = shape[0] if len(shape) == WINDOWS else (shape[0] - self._settings.length) // self._hop + 1
        if windows < 1:
            message = f"{shape[0]} samples are no window of {self._settings.length}"
            raise ValueError(message)
        return windows


def _channel(values: Values, mono_us: int, taken_us: int) -> Channel:
    return Channel(values.copy(), mono_us, missing=int(np.isnan(values).sum()), taken_us=taken_us)


def _words(taken_us: int) -> str:
    return datetime.fromtimestamp(taken_us / 1e6, UTC).isoformat(timespec="seconds") if taken_us else "its beginning"
