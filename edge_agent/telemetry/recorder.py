"""Judgements and records become durable in groups: they come in one by one, and leave a commit at a time.

The order is the law: first the commit, then the intake slot is freed, then whoever waits for the record is told. What
cannot be committed waits in memory; what memory cannot hold is counted and said.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from edge_agent.clock import Clock
from edge_agent.errors import StoreError
from edge_agent.inference.intake import Intake
from edge_agent.judgement import Judgement
from edge_agent.store import StoreCorrupt
from edge_agent.telemetry.outbox import Outbox
from edge_protocol.codes import Stream, Verdict
from edge_protocol.messages import AnyRecord, Fault, Uncertain

MAX_WAITING = 20_000
"""Rows that wait in memory while the disk cannot be written: 16 minutes of 20 a second."""

RETRY_S = 1.0

CHORES_MS = 5.0
"""A slice of housekeeping: an NG that comes meanwhile waits no longer than this."""

CHORES_S = 10.0
BUSY_CHORES_S = 0.1

_URGENT = frozenset((Verdict.NG, Verdict.REVIEW))


class Recorder:
    """Group commit. `put` and `record` belong to any thread, `step` to one."""

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
        self._judgements: list[Judgement] = []
        self._records: list[tuple[Stream, int, AnyRecord]] = []
        self._first_us = 0
        self._retry_us = 0
        self._next_chores_us = 0
        self._is_urgent = False
        self._is_failing = False
        self._lost: list[Judgement] = []
        self._lost_records = 0
        self._due = threading.Condition()

    @property
    def waiting(self) -> int:
        """Rows in memory that are not on disk."""
        return len(self._judgements) + len(self._records)

    def put(self, judgement: Judgement, *, urgent: bool = False) -> None:
        """Take a judgement; NG and REVIEW, and what an output waits for, are committed at once."""
        with self._due:
            if len(self._judgements) >= MAX_WAITING:
                self._lost = [*self._lost[:1], judgement]
                return
            self._note_first()
            self._judgements.append(_bare(judgement) if self._is_failing else judgement)
            self._notify(urgent=urgent or judgement.verdict in _URGENT)

    def record(self, stream: Stream, record: AnyRecord) -> None:
        """Take a record of any other stream, made now. Events are committed at once."""
        with self._due:
            if len(self._records) >= MAX_WAITING:
                self._lost_records += 1
                return
            self._note_first()
            self._records.append((stream, self._clock.wall_us(), record))
            self._notify(urgent=stream is Stream.EVENTS)

    def step(self) -> bool:
        """Commit if it is time, else keep house now and then; whether there was a commit.

        Raises:
            StoreCorrupt: the agent has to be started again. The intake ring holds what is not on record.
        """
        now_us = self._clock.mono_us()
        with self._due:
            is_due = self._is_due(now_us)
        if is_due:
            return self._commit()
        if now_us >= self._next_chores_us and not self._is_failing:
            self._do_chores(now_us)
        return False

    def wait(self, idle_s: float) -> None:
        """Wait until there is reason for a `step`, or for `idle_s`."""
        with self._due:
            if not self._is_due(self._clock.mono_us()):
                self._due.wait(idle_s)

    def flush(self) -> bool:
        """Commit what there is; whether nothing is left."""
        try:
            return self.waiting == 0 or (self._commit() and self.waiting == 0)
        except StoreCorrupt:
            return False

    def _note_first(self) -> None:
        if not self._judgements and not self._records:
            self._first_us = self._clock.mono_us()

    def _notify(self, *, urgent: bool) -> None:
        self._is_urgent |= urgent
        if self._is_urgent or self.waiting >= self._commit_rows:
            self._due.notify()

    def _is_due(self, now_us: int) -> bool:
        if not self._judgements and not self._records:
            return False
        if self._is_failing:
            return now_us >= self._retry_us
        return self._is_urgent or self.waiting >= self._commit_rows or now_us - self._first_us >= self._commit_us

    def _commit(self) -> bool:
        with self._due:
            judgements, records = self._judgements, self._records
            self._judgements, self._records, self._is_urgent = [], [], False
        try:
            owed_from = self._intake.owed_from(judgements)
            self._outbox.append_by_shedding(judgements, [*records, *self._healed()], owed_from)
        except StoreError as error:
            self._keep(judgements, records, error)
            if isinstance(error, StoreCorrupt):
                raise
            return False
        if self._is_failing:
            self._is_failing, self._lost, self._lost_records = False, [], 0
        self._intake.settle(judgements)
        if judgements:
            self._after_commit(judgements)
        return True

    def _do_chores(self, now_us: int) -> None:
        more = False
        with suppress(StoreError):
            more = self._outbox.housekeep(CHORES_MS)
        self._next_chores_us = now_us + round((BUSY_CHORES_S if more else CHORES_S) * 1e6)

    def _keep(
        self, judgements: list[Judgement], records: list[tuple[Stream, int, AnyRecord]], error: StoreError
    ) -> None:
        """Put back in front what could not be committed, and say once that it could not."""
        with self._due:
            # What the model found is for explanations, which need this very disk; thousands of them would fill memory.
            self._judgements = [_bare(each) for each in judgements + self._judgements]
            self._records = records + self._records
            self._retry_us = self._clock.mono_us() + round(RETRY_S * 1e6)
            if not self._is_failing:
                self._is_failing = True
                fault = Fault(part="store", name="outbox", reason=type(error).__name__, active=True, detail=str(error))
                self._records.append((Stream.EVENTS, self._clock.wall_us(), fault))

    def _healed(self) -> list[tuple[Stream, int, AnyRecord]]:
        """What a commit that follows a failed one has to say."""
        if not self._is_failing:
            return []
        now_us = self._clock.wall_us()
        detail = f"{self._lost_records} records were not kept" if self._lost_records else ""
        events: list[AnyRecord] = [Fault(part="store", name="outbox", reason="healed", active=False, detail=detail)]
        if self._lost:
            first, last = self._lost[0].trigger, self._lost[-1].trigger
            uncertain = Uncertain(
                from_us=first.at_us, to_us=last.at_us, first_trigger=first.n, last_trigger=last.n, reason="no-memory"
            )
            events.append(uncertain)
        return [(Stream.EVENTS, now_us, event) for event in events]


def _bare(judgement: Judgement) -> Judgement:
    """What goes on record of it."""
    return judgement if judgement.prediction is None else replace(judgement, prediction=None)
