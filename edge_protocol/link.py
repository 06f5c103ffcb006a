"""The seam to a transport: what a link must do, whichever broker is behind it. `tests/edge_protocol` holds the contract."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

Handler: TypeAlias = Callable[[str, bytes], None]
"""Called with (topic, payload) on the link's own thread: put it in a queue and return."""


class Link(Protocol):
    """At-most-once hints over at-least-once transport: nothing here proves that anybody has stored anything.

    - `publish` hands a message to the transport and answers whether it took it; it never blocks on the network and
      never queues without bound. A refused message is the caller's to send again.
    - After a reconnect the subscriptions stand again without the caller's help, and `on_connect` is called.
    - A retained message is delivered to whoever subscribes later; an empty retained payload clears it.
    - `close` ends the connection in order: the last will is not sent.
    """

    @property
    def connected(self) -> bool:
        """Whether the transport believes to be connected now."""

    def start(self, on_message: Handler, on_connect: Callable[[], None]) -> None:
        """Connect in the background and keep connected. Returns at once, connected or not."""

    def subscribe(self, topic_filter: str) -> None:
        """Receive what matches, now and after each reconnect."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Hand over one message at QoS 1; False when offline or when the window is full."""

    def close(self) -> None:
        """Disconnect and stop. May be called twice."""
