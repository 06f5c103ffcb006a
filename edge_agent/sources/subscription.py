"""What a broker of the line says on one topic comes in, message by message; whether the broker is away goes out.

Never connects before it is first asked to listen.
"""

from collections.abc import Callable

from edge_protocol.link import Link

GRACE_US = 3_000_000
"""A link that is not connected for so long is away: before that it may only be about to connect."""


class Subscription:
    """One topic at a broker. `hear` is called on the link's thread, all else belongs to one other thread."""

    def __init__(self, topic: str, make_link: Callable[[], Link], hear: Callable[[bytes], None]) -> None:
        self._topic = topic
        self._make_link = make_link
        self._hear = hear
        self._link: Link | None = None
        self._seen_us = 0

    @property
    def connected(self) -> bool:
        """Whether the broker is there, as far as the link knows."""
        return self._link is not None and self._link.connected

    def listen(self, mono_us: int) -> None:
        """Connect, unless that was done: until then a second agent started by mistake has taken nobody's messages."""
        if self._link is None:
            self._link = self._make_link()
            self._link.subscribe(self._topic)
            self._link.start(lambda _topic, payload: self._hear(payload), lambda: None)
            self._seen_us = mono_us

    def is_away(self, mono_us: int) -> bool:
        """Whether the broker has been out of reach for longer than the grace. The link comes back by itself."""
        if self._link is None or self._link.connected:
            self._seen_us = mono_us
        return mono_us - self._seen_us >= GRACE_US

    def close(self) -> None:
        """Say goodbye to the broker; `listen` connects anew."""
        if self._link is not None:
            self._link.close()
            self._link = None
