"""A hub in a dictionary: batches come in as bytes, receipts go out, and it remembers every identity for ever."""

from dataclasses import dataclass, field
from typing import Any

from edge_agent.telemetry.outbox import Outbox
from edge_protocol import batch, messages, ranges
from edge_protocol.batch import Batch
from edge_protocol.codes import Stream
from edge_protocol.messages import Receipt, StreamAccount


@dataclass
class FakeHub:
    """Archives by identity, refuses other bytes under a known one, and says which messages it answers."""

    rows: dict[tuple[int, str], dict[int, Any]] = field(default_factory=dict)
    archived: dict[tuple[int, str], ranges.Ranges] = field(default_factory=dict)

    def receive(self, body: bytes) -> Receipt:
        """Take a batch; the receipt for it."""
        came = batch.decode(body)
        key = (came.epoch, came.stream)
        archive = self.rows.setdefault(key, {})
        conflicts = []
        for row in came.rows:
            content = self._content(came, row)
            if archive.setdefault(row.seq, content) != content:
                conflicts.append(row.seq)
        answers = ((came.rows[0].seq, came.rows[-1].seq),)
        self.archived[key] = ranges.union(self.has(*key), answers)
        return Receipt(
            gateway=came.gateway,
            epoch=came.epoch,
            stream=came.stream,
            committed=self.archived[key],
            conflicts=ranges.from_numbers(conflicts),
            answers=answers,
            hub_us=1,
        )

    def has(self, epoch: int, stream: str) -> ranges.Ranges:
        """Which numbers of a stream are archived."""
        return self.archived.get((epoch, stream), ())

    def contents(self) -> list[Any]:
        """Everything that is archived."""
        return [content for archive in self.rows.values() for content in archive.values()]

    @staticmethod
    def _content(came: batch.Batch, row: Any) -> Any:
        if isinstance(row, batch.RecordRow):
            return came.time, row.at_us, row.body
        return (
            came.time,
            came.contexts[row.context],
            *(getattr(row, name) for name in row.__struct_fields__[1:3]),
            *(getattr(row, name) for name in row.__struct_fields__[4:]),
        )


def account(outbox: Outbox, stream: str) -> StreamAccount:
    """The account of a stream's newest epoch."""
    return [line for line in outbox.accounts() if line.stream == stream][-1]


def send_all(outbox: Outbox, hub: FakeHub) -> list[Batch]:
    """Send and settle until nothing is left; what was sent."""
    sent = []
    while (found := outbox.next_batch()) is not None:
        outbox.settle(hub.receive(batch.encode(found)))
        sent.append(found)
    return sent


def events_of(batches: list[Batch]) -> list[object]:
    """The events among what was sent."""
    return [
        messages.decode_record(row.body) for each in batches if each.stream == Stream.EVENTS for row in each.records
    ]
