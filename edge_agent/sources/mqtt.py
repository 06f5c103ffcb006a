"""Messages of a broker on the line come in as samples, oldest first: each message is a part.

A broker that is away is a fault, and the link comes back by itself. Never loses a message without a word: what a full
queue pushed out becomes a trigger that says OVERLOAD, or is a hole in the source's own numbers.
"""

import zlib
from collections import deque
from collections.abc import Callable

from edge_agent.clock import system_mono_us
from edge_agent.errors import SourceError
from edge_agent.sample import Sample, Trigger
from edge_agent.settings import MqttSource as Settings
from edge_agent.sources.inbox import Inbox
from edge_agent.sources.payload import Form, read
from edge_agent.sources.subscription import Subscription
from edge_protocol.codes import Reason, Verdict
from edge_protocol.link import Hearing, Link

HEAR = Hearing(retained=False, max_bytes=4_000_000)
"""A retained message is the last part again, not a new one; what the broker kept while we were away is new."""

_RECENT = 64


class MqttSource:
    """A topic of which each message is a part."""

    def __init__(
        self, settings: Settings, make_link: Callable[[], Link], now_us: Callable[[], int] = system_mono_us
    ) -> None:
        self._settings = settings
        self._now_us = now_us
        self._form = Form(settings.channels, settings.length)
        self._inbox: Inbox[Sample] = Inbox(
            settings.queue, lambda sample: int(sample.number is None), size_bytes=lambda sample: sample.size_bytes
        )
        self._recent: deque[tuple[int, int]] = deque(maxlen=_RECENT)
        self._subscription = Subscription(settings.topic, make_link, self._hear)
        self._is_open = False

    def open(self) -> None:
        """Get ready. A broker that is away at the start is no error: it may come.

        Raises:
            SourceError: it was away before, and still is.
        """
        if self._is_open:
            self._check(self._now_us())
        self._is_open = True

    def waiting(self, mono_us: int) -> bool:
        """Whether a message is there.

        Raises:
            SourceError: the broker is away, and what it had sent is taken.
        """
        self._listen(mono_us)
        if self._inbox:
            return True
        self._check(mono_us)
        return False

    def grab(self, trigger: Trigger) -> Sample:
        """The oldest message; for each that a full queue pushed out a fault in its place."""
        self._listen(trigger.mono_us)
        if self._inbox.settle(1):
            return Sample(fault=Reason.OVERLOAD, detail=f"more than {self._settings.queue} messages waited, or 64 MB")
        sample = self._inbox.take()
        if sample is not None:
            return sample
        problem = "no message is there" if self._subscription.connected else "the broker is away"
        return Sample(fault=Reason.SOURCE_FAULT, detail=f"{self._settings.broker}: {problem}")

    def done(self, trigger: Trigger, verdict: Verdict) -> None:
        """Nothing is left behind."""

    def close(self) -> None:
        """Say goodbye to the broker."""
        self._is_open = False
        self._subscription.close()

    def _listen(self, mono_us: int) -> None:
        if self._is_open:
            self._subscription.listen(mono_us)

    def _check(self, mono_us: int) -> None:
        if self._subscription.is_away(mono_us):
            message = f"source {self._settings.name!r}: {self._settings.broker} is away"
            raise SourceError(message, "look at the broker and the network; the link is tried again by itself")

    def _hear(self, payload: bytes) -> None:
        """On the link's thread."""
        sample = read(self._settings.payload, payload, self._form, self._now_us())
        if sample.number is not None:
            # At least once is what a broker promises: the same number with the same bytes is one part told twice.
            told = (sample.number, zlib.crc32(payload))
            if told in self._recent:
                return
            self._recent.append(told)
        self._inbox.put(sample)
