"""Messages of a broker on the line come in as ticks, oldest first: each says that a part is there, and may name it.

Never hears what was said before it listened: a part that passed while nobody looked has no picture any more.
"""

from collections.abc import Callable
from dataclasses import replace

from edge_agent.clock import system_mono_us
from edge_agent.errors import SourceError
from edge_agent.settings import MqttTrigger as Settings
from edge_agent.sources.inbox import Inbox
from edge_agent.sources.payload import read_names
from edge_agent.sources.subscription import Subscription
from edge_agent.sources.triggers import WAIT_S, Tick
from edge_protocol.link import Hearing, Link

HEAR = Hearing(retained=False, kept=False, max_bytes=64 * 1024)

MAX_MISSED = 1000
"""More than this are not told with one tick but with those after it."""


class MqttTrigger:
    """A topic of which each message is a tick."""

    def __init__(
        self, settings: Settings, make_link: Callable[[], Link], now_us: Callable[[], int] = system_mono_us
    ) -> None:
        self._settings = settings
        self._now_us = now_us
        self._idle_s = min(settings.poll_s, WAIT_S)
        self._inbox: Inbox[Tick] = Inbox(settings.queue, lambda tick: int(tick.number is None))
        self._subscription = Subscription(settings.topic, make_link, self._hear)
        self._last: int | None = None

    def poll(self, mono_us: int) -> Tick | None:
        """The oldest message, with how many were pushed out before it; numbered ones are missed by their numbers.

        Raises:
            SourceError: the broker is away.
        """
        self._subscription.listen(mono_us)
        tick = self._inbox.take()
        if tick is not None:
            return replace(tick, missed=self._inbox.settle(MAX_MISSED))
        if self._subscription.is_away(mono_us):
            message = f"trigger {self._settings.name!r}: {self._settings.broker} is away"
            raise SourceError(message, "look at the broker and the network; parts that pass now are not seen")
        return None

    def idle_s(self, mono_us: int) -> float:  # noqa: ARG002 (a message may come at any time)
        """The time between two looks, nothing while messages wait."""
        return 0.0 if self._inbox else self._idle_s

    def close(self) -> None:
        """Say goodbye to the broker."""
        self._subscription.close()

    def _hear(self, payload: bytes) -> None:
        """On the link's thread."""
        names = read_names(payload)
        number = names.get("number")
        # At least once is what a broker promises: the same number again is the same part told twice.
        if number is None or number != self._last:
            self._last = number
            self._inbox.put(Tick(self._now_us(), **names))
