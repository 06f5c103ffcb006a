"""Whether an input follows from those before it: frozen, a duplicate, late after a gap, a time that goes back.

A look comes in, a reason goes out. A replay may repeat itself and jump in time; what is live may not.
"""

import zlib
from collections import deque
from typing import TypeAlias

import numpy as np

from edge_agent.sample import Look
from edge_agent.settings import Guard as Settings
from edge_protocol.codes import Reason

Print: TypeAlias = tuple[float, ...]
"""A fingerprint: the checksum of what was looked at with its signals, so that no two inputs share it by chance."""


class SequenceGuard:
    """Remembers the latest inputs of one source."""

    def __init__(self, settings: Settings, *, repeats: bool = True) -> None:
        """`repeats`: whether an input that is equal to one before means anything."""
        self._settings = settings
        self._looks_back = repeats and (settings.frozen_after > 0 or settings.duplicate_within > 0)
        self._recent: deque[Print] = deque(maxlen=settings.duplicate_within)
        self._last: Print = ()
        self._repeated = 0
        self._at_us: int | None = None
        self._taken_us: int | None = None

    def check(self, look: Look) -> Reason:
        """Why this input cannot be the next of a living source."""
        if look.missing > self._settings.missing_above * max(1, look.values.shape[-1] if look.values.ndim else 1):
            return Reason.GAP
        if look.replayed:
            return Reason.NONE
        late = self._time(look)
        repeated = self._repeats(look) if self._looks_back else Reason.NONE
        return late if late is not Reason.NONE else repeated

    def _time(self, look: Look) -> Reason:
        before_us, self._at_us = self._at_us, look.at_us
        taken_us, self._taken_us = self._taken_us, look.taken_us
        if before_us is not None and look.at_us < before_us:
            return Reason.TIME_WENT_BACK
        if taken_us is not None and look.taken_us is not None and look.taken_us < taken_us:
            return Reason.TIME_WENT_BACK
        gap_us = self._settings.gap_s * 1e6
        return Reason.GAP if gap_us and before_us is not None and look.at_us - before_us > gap_us else Reason.NONE

    def _repeats(self, look: Look) -> Reason:
        seen = look.values if look.luma is None else look.luma
        mark = (zlib.crc32(np.ascontiguousarray(seen).data), *look.signals.values())
        self._repeated = self._repeated + 1 if mark == self._last else 1
        self._last = mark
        is_known = mark in self._recent
        self._recent.append(mark)
        if self._settings.frozen_after and self._repeated >= self._settings.frozen_after:
            return Reason.FROZEN
        return Reason.DUPLICATE if is_known else Reason.NONE
