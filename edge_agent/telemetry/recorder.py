"""Judgements and records come in from every thread; groups of them go on disk, and their slots in the ring are freed.

An OK may wait for company, an NG or REVIEW may not. The order is commit, then settle: a kill in between leaves slots
whose rows are there, never rows that nobody has.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence

from edge_agent.clock import Clock
from edge_agent.errors import StoreError
from edge_agent.inference.intake import Intake
from edge_agent.judgement import Judgement
from edge_agent.telemetry.outbox import Outbox
from edge_protocol.codes import Stream, Verdict
from edge_protocol.messages import AnyRecord, Fault

MAX_WAITING_RECORDS = 50_000
"""Records that are kept in memory while the disk refuses them; judgements are bounded by the ring itself."""

RETRY_S = 1.0

_URGENT = (Verdict.NG, Verdict.REVIEW)


class Recorder:
    """One thread steps, all others put."""

    def __init__(
        self,
        outbox: Outbox,
        intake: Intake,
        clock: Clock,
        *,
        commit_s: float = 2.0,
        commit_rows: int = 200,
        after_commit: Callable[[Sequence[Judgement]], None] = lambda _judgements: None,
    ) -> None:
        self._outbox = outbox
        self._intake = intake
        self._clock = clock
        self._commit_us = round(commit_s * 1e6)
        self._commit_rows = commit_rows
        self._after_commit = after_commit
        self._judgements: deque[Judgement] = deque()
        self._records: deque[tuple[Stream, int, AnyRecord]] = deque()
        self._since_us: int | None = None
        self._retry_us = 0
        self._dropped = 0
        self._failing = False
        self._due = threading.Event()

    def put(self, judgement: Judgement, *, urgent: bool = False) -> None:
        """Record a judgement; at once if it is NG, REVIEW or `urgent`."""
        self._judgements.append(judgement)
        self._note(urgent=urgent or judgement.verdict in _URGENT)

    def record(self, stream: Stream, record: AnyRecord) -> None:
        """Record anything else. Events go at once."""
        if len(self._records) >= MAX_WAITING_RECORDS:
            self._dropped += 1
            return
        self._records.append((stream, self._clock.wall_us(), record))
        self._note(urgent=stream is Stream.EVENTS)

    def wait(self, idle_s: float) -> None:
        """Sleep until something is urgent or a group is full, for at most `idle_s`."""
        self._due.wait(idle_s)

    def step(self) -> bool:
        """Commit what is due; whether something was done. With nothing to record, a slice of housekeeping."""
        now_us = self._clock.mono_us()
        if self._since_us is not None and now_us >= self._retry_us:
            if self._due.is_set() or now_us - self._since_us >= self._commit_us:
                return self._commit()
            return False
        return self._since_us is None and self._outbox.housekeep()

    def flush(self) -> None:
        """Commit everything now.

        Raises:
            StoreError: it could not be; all of it is still here and in the ring.
        """
        while self._judgements or self._records:
            self._write()

    def _note(self, *, urgent: bool) -> None:
        if self._since_us is None:
            self._since_us = self._clock.mono_us()
        if urgent or len(self._judgements) >= self._commit_rows:
            self._due.set()

    def _commit(self) -> bool:
        self._due.clear()
        try:
            self._write()
        except StoreError as error:
            self._retry_us = self._clock.mono_us() + round(RETRY_S * 1e6)
            if not self._failing:
                self._failing = True
                fault = Fault(part="store", name="", reason="cannot-record", active=True, detail=str(error)[:500])
                self._records.append((Stream.EVENTS, self._clock.wall_us(), fault))
            return False
        return True

    def _write(self) -> None:
        self._since_us = None
        # Snapshots by length: others append to the right while we take from the left.
        judgements = [self._judgements[i] for i in range(len(self._judgements))]
        records = [self._records[i] for i in range(len(self._records))]
        try:
            self._outbox.append(judgements, records)
        except StoreError:
            self._since_us = self._clock.mono_us()
            raise
        for _ in judgements:
            self._judgements.popleft()
        for _ in records:
            self._records.popleft()
        if self._judgements or self._records:
            self._note(urgent=False)
        self._failing = False
        self._intake.settle(judgements)
        self._after_commit(judgements)
