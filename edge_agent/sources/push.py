"""Parts that the line sends by HTTP come in, oldest first; whoever sent one is told its trigger and, if asked, verdict.

Never takes a part that it cannot hand on: an answer without a trigger's number means that there is no such part here.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_agent.clock import system_mono_us
from edge_agent.errors import ConfigError, SourceError
from edge_agent.sample import Sample, Trigger
from edge_agent.settings import PushSource as Settings
from edge_agent.settings.bearer import read_token
from edge_agent.sources.inbox import MAX_BYTES
from edge_agent.sources.payload import Form
from edge_agent.sources.reception import Reception, Terms
from edge_protocol.codes import Reason, Verdict

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Ticket:
    """A part that somebody sent, on its way to a trigger and a verdict."""

    sample: Sample
    taken: threading.Event = field(default_factory=threading.Event)
    judged: threading.Event = field(default_factory=threading.Event)
    trigger: Trigger | None = None
    verdict: Verdict | None = None


class PushSource:
    """A path on an address of this machine; each POST to it is a part."""

    def __init__(self, settings: Settings, now_us: Callable[[], int] = system_mono_us) -> None:
        self._settings = settings
        self._now_us = now_us
        self._lock = threading.Lock()
        self._waiting: deque[Ticket] = deque()
        self._grabbed: dict[int, Ticket] = {}
        self._reception: Reception | None = None

    @property
    def port(self) -> int:
        """The port it listens on; 0 while it does not."""
        return self._reception.port if self._reception is not None else 0

    def open(self) -> None:
        """Listen.

        Raises:
            SourceError: the address is taken or not ours, or the token's file cannot be used.
        """
        if self._reception is not None:
            return
        table = self._settings
        terms = Terms(
            path=table.path,
            form=Form(table.channels, table.length),
            max_bytes=round(table.max_mb * 2**20),
            take_s=table.take_s,
            token=self._read_token(),
            now_us=self._now_us,
        )
        try:
            self._reception = Reception((table.host, table.port), terms, self)
        except (OSError, OverflowError) as error:
            message = f"source {table.name!r}: cannot listen on {table.host}:{table.port}: {error}"
            raise SourceError(message, "take a free port of this machine; another agent may be running") from error
        log.info("source %s takes parts at http://%s:%d%s", table.name, table.host, self.port, table.path)

    def _read_token(self) -> str:
        table = self._settings
        try:
            return read_token(table.token_file, f"source {table.name!r}") if table.token_file is not None else ""
        except ConfigError as error:
            raise SourceError(str(error), error.hint) from error

    def waiting(self, mono_us: int) -> bool:  # noqa: ARG002 (who waits, waits)
        """Whether a part is there."""
        return bool(self._waiting)

    def grab(self, trigger: Trigger) -> Sample:
        """The part that waits longest."""
        with self._lock:
            if not self._waiting:
                return Sample(fault=Reason.SOURCE_FAULT, detail="nobody has sent a part")
            ticket = self._waiting.popleft()
            ticket.trigger = trigger
            self._grabbed[trigger.n] = ticket
            # Whoever waits for the verdict need not hold the picture until then.
            sample, ticket.sample = ticket.sample, Sample()
        ticket.taken.set()
        return sample

    def done(self, trigger: Trigger, verdict: Verdict) -> None:
        """Tell whoever waits for it."""
        with self._lock:
            ticket = self._grabbed.pop(trigger.n, None)
        if ticket is not None:
            ticket.verdict = verdict
            ticket.judged.set()

    def close(self) -> None:
        """Listen no more; who still waits for a trigger or a verdict is told so."""
        reception, self._reception = self._reception, None
        if reception is not None:
            reception.close()

    def offer(self, sample: Sample) -> Ticket | None:
        """Put a part into the queue; None when it is full. Any thread."""
        with self._lock:
            held = sum(each.sample.size_bytes for each in self._waiting)
            if len(self._waiting) >= self._settings.queue or (held and held + sample.size_bytes > MAX_BYTES):
                return None
            ticket = Ticket(sample)
            self._waiting.append(ticket)
            return ticket

    def withdraw(self, ticket: Ticket) -> bool:
        """Take a part back that no trigger has taken; False when one has. Any thread."""
        with self._lock:
            if ticket.trigger is not None:
                return False
            self._waiting.remove(ticket)
            return True
