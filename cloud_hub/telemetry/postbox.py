"""Receipts that wait to be sent: one for each stream of a gateway, kept until the link takes it.

Receipts are cumulative, so a newer one takes the place of an older that was not sent. Signed when sent, never before.
"""

from typing import TypeAlias

from cloud_hub.clock import Clock
from cloud_hub.telemetry.archive import Answer
from edge_protocol import envelope, messages, ranges, topics
from edge_protocol.envelope import PrivateKey
from edge_protocol.link import Link
from edge_protocol.messages import Receipt

MAX_RANGES = 128
"""Ranges in one receipt. The others are for a later one: what is left out is only not said yet."""

_Key: TypeAlias = tuple[str, int, str]


class Postbox:
    """Receipts on their way out. Used by the receiver's thread only."""

    def __init__(self, link: Link, key: PrivateKey, clock: Clock) -> None:
        self._link = link
        self._key = key
        self._clock = clock
        self._waiting: dict[_Key, Answer] = {}

    def add(self, answer: Answer) -> None:
        """Have an answer sent; what is committed behind it must be committed already."""
        key = (answer.gateway, answer.epoch, answer.stream)
        older = self._waiting.pop(key, None)
        if older is not None:
            committed = ranges.union(older.committed, answer.committed)
            conflicts = ranges.union(older.conflicts, answer.conflicts)
            answer = Answer(*key, committed, conflicts, ranges.union(older.answers, answer.answers))
        self._waiting[key] = answer

    def send(self) -> int:
        """Hand over what the link takes; says how many receipts that were."""
        sent = 0
        for key in list(self._waiting):
            if not self._link.publish(topics.down(key[0], "receipt"), self._seal(self._waiting[key])):
                break
            del self._waiting[key]
            sent += 1
        return sent

    def __len__(self) -> int:
        return len(self._waiting)

    def _seal(self, answer: Answer) -> bytes:
        said = bounded(answer)
        receipt = Receipt(
            gateway=said.gateway, epoch=said.epoch, stream=said.stream, committed=said.committed,
            conflicts=said.conflicts, answers=said.answers, hub_us=self._clock.wall_us(),
        )  # fmt: skip
        return envelope.seal(topics.down(answer.gateway, "receipt"), messages.encode(receipt), self._key)


def bounded(answer: Answer) -> Answer:
    """The answer with at most `MAX_RANGES` ranges of each kind: of what is committed the prefix, what is answered, the
    latest. Pure.

    A conflict that is left out is not answered either: for an answered number without conflict the row is deleted.
    """
    conflicts = answer.conflicts[:MAX_RANGES]
    answers = ranges.subtract(answer.answers, answer.conflicts[MAX_RANGES:])[:MAX_RANGES]
    committed = answer.committed
    if len(committed) > MAX_RANGES:
        answered = [pair for pair in committed if ranges.intersect((pair,), answers)]
        half = MAX_RANGES // 2 - 1
        committed = ranges.normal([committed[0], *answered[:half], *committed[-half:]])
    return Answer(answer.gateway, answer.epoch, answer.stream, committed, conflicts, answers)
