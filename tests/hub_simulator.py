"""A hub in a few lines: real keys, real envelopes, over any link. It can fall silent, lie, and repeat itself."""

import threading
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import ed25519

from edge_protocol import envelope, messages, ranges, topics
from edge_protocol.codes import Stream
from edge_protocol.envelope import PublicKey
from edge_protocol.link import Link
from edge_protocol.messages import GatewayState, Receipt
from tests.edge_agent.telemetry.fake_hub import FakeHub


class HubSimulator:
    """Archives what one gateway sends and answers with signed receipts, unless `answers` says otherwise."""

    def __init__(self, link: Link, gateway: str, key: ed25519.Ed25519PrivateKey, gateway_key: PublicKey) -> None:
        self.link = link
        self.gateway = gateway
        self.key = key
        self.archive = FakeHub()
        self.states: list[GatewayState] = []
        self.batches = 0
        self.answers: Callable[[Receipt], Receipt | None] = lambda receipt: receipt
        self.changed = threading.Condition()
        self._keys = {envelope.key_id(gateway_key): gateway_key}
        self._topic = topics.down(gateway, "receipt")

    def start(self) -> None:
        """Connect and listen."""
        self.link.subscribe(topics.up_filter(topics.shard_of(self.gateway)))
        self.link.start(self._on_message, lambda: None)

    def await_that(self, what: Callable[[], object], timeout_s: float = 30.0) -> bool:
        """Wait until something is so, looking after each message."""
        with self.changed:
            return bool(self.changed.wait_for(what, timeout_s))

    def say(self, payload: bytes) -> bool:
        """Send any bytes on the receipts' topic; whether the link took them."""
        return self.link.publish(self._topic, payload)

    def seal(self, receipt: Receipt) -> bytes:
        """The signed message of a receipt."""
        return envelope.seal(self._topic, messages.encode(receipt), self.key)

    def missing(self, state: GatewayState) -> dict[tuple[int, str], ranges.Ranges]:
        """What this state says was produced and is neither here, nor held or declared there."""
        lost = {}
        for line in state.streams:
            every: ranges.Ranges = ((1, line.produced),) if line.produced else ()
            there = ranges.union(line.held, line.declared)
            left = ranges.subtract(ranges.subtract(every, there), self.archive.has(line.epoch, line.stream))
            if left:
                lost[line.epoch, line.stream] = left
        return lost

    def triggers(self) -> list[int]:
        """The trigger of every verdict that is here, sorted."""
        rows = [
            content
            for (_, stream), kept in self.archive.rows.items()
            if stream == Stream.VERDICTS
            for content in kept.values()
        ]
        return sorted(content[3] for content in rows)

    def _on_message(self, topic: str, payload: bytes) -> None:
        body = b"" if topic.endswith("/link") else envelope.unseal(topic, payload, self._keys).body
        with self.changed:
            if topic.endswith("/up/state"):
                self.states.append(messages.decode(GatewayState, body))
            elif body and topic.rpartition("/")[2] in set(Stream):
                self.batches += 1
                receipt = self.answers(self.archive.receive(body))
                if receipt is not None:
                    self.say(self.seal(receipt))
            self.changed.notify_all()
