"""The outbox's way to the hub: signed batches go out, signed receipts come back and settle what may be deleted.

A broker's acknowledgement proves nothing here: a batch is sent again until a receipt of the hub names its numbers.
Works on one thread by `step`; what the link's thread brings is only queued.
"""

import queue
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from edge_agent.clock import Clock
from edge_agent.errors import StoreError
from edge_agent.store import StoreCorrupt
from edge_agent.telemetry.outbox import Outbox
from edge_protocol import batch, envelope, messages, ranges, topics
from edge_protocol.codes import Stream
from edge_protocol.envelope import PrivateKey, PublicKey
from edge_protocol.errors import ProtocolError
from edge_protocol.link import Link
from edge_protocol.messages import GatewayState, Receipt
from edge_protocol.ranges import EMPTY, Ranges

MAX_INBOX = 1000
"""Receipts that wait; more are dropped, and what they settle is sent again."""

RECONNECT_JITTER_S = 1.0
"""Gateways that lost the same broker do not all come back in the same moment."""

RESEND_JITTER = 0.25
PAUSE_US = 1_000_000
"""How long a database that cannot be read or written is left alone."""

_EVERYTHING: Ranges = ((1, 2**32 - 1),)


@dataclass(slots=True)
class Tally:
    """What the uplink has done since it was started. `refused`: forged, garbled or for somebody else."""

    sent: int = 0
    resent: int = 0
    receipts: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class _Flight:
    """A batch on its way: which numbers are still without receipt, and when it is sent again."""

    key: tuple[int, str]
    numbers: Ranges
    due_us: int


class Uplink:
    """Made idle; `start` connects. `step` belongs to one thread."""

    def __init__(  # noqa: PLR0917 (parts first, then by name)
        self,
        outbox: Outbox,
        link: Link,
        gateway: str,
        key: PrivateKey,
        hub_keys: Mapping[bytes, PublicKey],
        clock: Clock,
        *,
        state: Callable[[], GatewayState],
        linger_s: float = 5.0,
        batch_rows: int = 100,
        resend_s: float = 30.0,
        state_s: float = 5.0,
        window: int = 8,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.tally = Tally()
        self._outbox = outbox
        self._link = link
        self._gateway = gateway
        self._key = key
        self._hub_keys = hub_keys
        self._clock = clock
        self._state = state
        self._linger_us = round(linger_s * 1e6)
        self._batch_rows = batch_rows
        self._resend_us = round(resend_s * 1e6)
        self._state_us = round(state_s * 1e6)
        self._window = window
        self._chance = chance
        self._receipt_topic = topics.down(gateway, "receipt")
        self._listeners: Mapping[str, Callable[[bytes], None]] = {}
        self._connected: Callable[[], None] = lambda: None
        self._inbox: queue.Queue[bytes | None] = queue.Queue(MAX_INBOX)
        self._arrived = threading.Event()
        self._flights: list[_Flight] = []
        self._sent_before: dict[tuple[int, str], Ranges] = {}
        self._since_us: dict[tuple[int, str], int] = {}
        self._next_state_us = 0
        self._not_before_us = 0

    @property
    def connected(self) -> bool:
        """Whether the link believes to be connected."""
        return self._link.connected

    def start(
        self,
        listeners: Mapping[str, Callable[[bytes], None]] | None = None,
        on_connect: Callable[[], None] = lambda: None,
    ) -> None:
        """Connect in the background and listen for receipts, and on the topics of `listeners` for them.

        They and `on_connect` are called on the link's thread: they put it in a queue and return.
        """
        self._listeners, self._connected = listeners or {}, on_connect
        for topic in (self._receipt_topic, *self._listeners):
            self._link.subscribe(topic)
        self._link.start(self._on_message, self._on_connect)

    def send(self, name: str, message: messages.Message) -> bool:
        """Hand a signed message to the link, from any thread; whether that took it."""
        topic = topics.up(self._gateway, name)
        sealed = envelope.seal(topic, messages.encode(message), self._key)
        return self._link.connected and self._link.publish(topic, sealed)

    def wait(self, idle_s: float) -> None:
        """Wait until something comes from the hub, or for `idle_s`."""
        self._arrived.wait(idle_s)
        self._arrived.clear()

    def hurry(self) -> None:
        """From now on send what there is without waiting for batches to fill: the agent stops."""
        self._linger_us = 0

    def step(self) -> bool:
        """Work in what came, send what is due; whether there was anything to do.

        Raises:
            StoreCorrupt: the agent has to be started again.
        """
        try:
            return self._step()
        except StoreCorrupt:
            raise
        except StoreError:
            # What was not settled comes again with the next receipt; what was not read is still there.
            self._not_before_us = self._clock.mono_us() + PAUSE_US
            return False

    def _step(self) -> bool:
        worked = self._work_in()
        if not self._link.connected:
            return worked
        now_us = self._clock.mono_us()
        worked |= self._send_state(now_us)
        if now_us >= self._not_before_us:
            self._flights = [flight for flight in self._flights if flight.due_us > now_us]
            while len(self._flights) < self._window and self._send_batch(now_us):
                worked = True
        return worked

    def close(self) -> None:
        """Say for a last time how things stand, and disconnect."""
        if self._link.connected:
            self._send_state(self._next_state_us)
        self._link.close()

    def _on_message(self, topic: str, payload: bytes) -> None:
        if topic == self._receipt_topic:
            self._enqueue(payload)
        elif topic in self._listeners:
            self._listeners[topic](payload)

    def _on_connect(self) -> None:
        self._enqueue(None)
        self._connected()

    def _enqueue(self, item: bytes | None) -> None:
        try:
            self._inbox.put_nowait(item)
        except queue.Full:
            self.tally.refused += 1
        self._arrived.set()

    def _work_in(self) -> bool:
        receipts: list[Receipt] = []
        worked = False
        while not self._inbox.empty():
            item = self._inbox.get_nowait()
            worked = True
            if item is None:
                self._begin_connection()
            elif (receipt := self._open(item)) is not None:
                receipts.append(receipt)
        if receipts:
            self._outbox.settle(*receipts)
            for receipt in receipts:
                self._land(receipt)
        return worked

    def _begin_connection(self) -> None:
        """Nothing that was on its way may be believed to have arrived."""
        self._flights.clear()
        now_us = self._clock.mono_us()
        self._next_state_us = now_us
        self._not_before_us = now_us + round(self._chance() * RECONNECT_JITTER_S * 1e6)

    def _open(self, message: bytes) -> Receipt | None:
        try:
            body = envelope.unseal(self._receipt_topic, message, self._hub_keys).body
            receipt = messages.decode(Receipt, body)
        except ProtocolError:
            self.tally.refused += 1
            return None
        if receipt.gateway != self._gateway:
            self.tally.refused += 1
            return None
        self.tally.receipts += 1
        self._clock.raise_floor(receipt.hub_us)
        return receipt

    def _land(self, receipt: Receipt) -> None:
        """Numbers that a receipt answered are no longer on their way."""
        key = (receipt.epoch, receipt.stream)
        answered = receipt.answers or ranges.union(receipt.committed, receipt.conflicts)
        flights = []
        for flight in self._flights:
            left = ranges.subtract(flight.numbers, answered) if flight.key == key else flight.numbers
            if left:
                flights.append(replace(flight, numbers=left))
        self._flights = flights
        if key in self._sent_before:
            self._sent_before[key] = ranges.subtract(self._sent_before[key], answered)

    def _send_state(self, now_us: int) -> bool:
        if now_us < self._next_state_us:
            return False
        topic = topics.up(self._gateway, "state")
        sealed = envelope.seal(topic, messages.encode(self._state()), self._key)
        if not self._link.publish(topic, sealed, retain=True):
            return False
        self._next_state_us = now_us + self._state_us
        return True

    def _send_batch(self, now_us: int) -> bool:
        found = self._outbox.next_batch(self._skip(now_us), self._batch_rows)
        if found is None:
            return False
        topic = topics.up(self._gateway, found.stream)
        if not self._link.publish(topic, envelope.seal(topic, batch.encode(found), self._key)):
            return False
        key = (found.epoch, found.stream)
        numbers: Ranges = ((found.rows[0].seq, found.rows[-1].seq),)
        before = self._sent_before.get(key, EMPTY)
        self.tally.sent += 1
        self.tally.resent += bool(ranges.intersect(before, numbers))
        self._sent_before[key] = ranges.union(before, numbers)
        wait_us = round(self._resend_us * (1 + RESEND_JITTER * self._chance()))
        self._flights.append(_Flight(key, numbers, now_us + wait_us))
        return True

    def _skip(self, now_us: int) -> dict[tuple[int, str], Ranges]:
        """What is not to be sent now: what is on its way, and streams whose batch may still fill."""
        skip: dict[tuple[int, str], Ranges] = {}
        for flight in self._flights:
            skip[flight.key] = ranges.union(skip.get(flight.key, EMPTY), flight.numbers)
        waiting = self._outbox.waiting(skip)
        self._since_us = {key: self._since_us.get(key, now_us) for key in waiting}
        for key, rows in waiting.items():
            is_ripe = rows >= self._batch_rows or now_us - self._since_us[key] >= self._linger_us
            if not is_ripe and key[1] != Stream.EVENTS:
                skip[key] = _EVERYTHING
        return skip
