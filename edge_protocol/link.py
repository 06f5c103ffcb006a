"""The seam to a transport: what a link must do, whichever broker is behind it.

The contract as tests is `tests/edge_protocol/link_contract.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from edge_protocol.messages import MAX_MESSAGE_BYTES
from edge_protocol.topics import check_topic

Handler: TypeAlias = Callable[[str, bytes], None]
"""Called with (topic, payload) on the link's own thread: put it in a queue and return."""


@dataclass(frozen=True, slots=True)
class Hearing:
    """What a link wants to hear. `retained`: also what was said before it subscribed; `kept`: also what the broker
    kept for it while it was away; `max_bytes`: no longer message, where the broker heeds it.
    """

    retained: bool = True
    kept: bool = True
    max_bytes: int = MAX_MESSAGE_BYTES


EVERYTHING = Hearing()


class Link(Protocol):
    """At-most-once hints over at-least-once transport: nothing here proves that anybody has stored anything.

    - `publish` hands a message to the transport and answers whether it took it; it never blocks on the network and
      never queues without bound. A refused message is the caller's to send again, and so is one that was on its way
      when a connection ended: `on_connect` is the moment.
    - After a reconnect the subscriptions stand again without the caller's help; then `on_connect` is called.
    - A message may come twice, and what was sent to a link while it was away may never come.
    - The last will is retained. It is sent when the connection ends without `close`, or a second link takes the id.
    - A handler that raises loses its message and nothing else.
    - A retained message is delivered to whoever subscribes later; an empty retained payload clears it.
    - `close` ends the connection in order: the last will is not sent.
    """

    @property
    def connected(self) -> bool:
        """Whether the transport believes to be connected now."""

    def start(self, on_message: Handler, on_connect: Callable[[], None]) -> None:
        """Connect in the background and keep connected. Returns at once, connected or not."""

    def subscribe(self, topic_filter: str) -> None:
        """Receive what matches, now and after each reconnect. May be called before `start`.

        Raises:
            ValueError: not a topic filter.
        """

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Hand over one message at QoS 1; False when offline or when the window is full.

        Raises:
            ValueError: as `check_message`.
        """

    def close(self) -> None:
        """Disconnect and stop. May be called twice."""


def check_message(topic: str, payload: bytes) -> None:
    """What every link asks of a message before it takes it.

    Raises:
        ValueError: a topic with wildcards, or a payload above `MAX_MESSAGE_BYTES`.
    """
    check_topic(topic)
    if len(payload) > MAX_MESSAGE_BYTES:
        message = f"{len(payload)} bytes for {topic} are above the limit of {MAX_MESSAGE_BYTES}"
        raise ValueError(message)
