"""A gateway in a few lines: real keys, real batches, real envelopes over any link. It can lie, repeat and garble."""

import hashlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from edge_protocol import batch as batches
from edge_protocol import envelope, messages, ranges, topics
from edge_protocol.batch import Batch, Context, RecordRow, VerdictRow
from edge_protocol.codes import Stream
from edge_protocol.envelope import PrivateKey, PublicKey
from edge_protocol.errors import ProtocolError
from edge_protocol.link import Link
from edge_protocol.messages import GatewayState, PipelineState, Place, Receipt, StreamAccount, Time
from edge_protocol.ranges import EMPTY, Ranges

START_US = 1_767_225_600_000_000
CONTEXT = Context(
    "seal", "surface-anomaly", "1.0.0", hashlib.sha256(b"bundle").digest(), "fp32", hashlib.sha256(b"point").digest()
)


def request_for(name: str, key: PrivateKey | None = None) -> tuple[PrivateKey, bytes]:
    """A key and the certificate request that `edge-agent identity new` would make for it."""
    key = key or ed25519.Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    digest = hashes.SHA256() if isinstance(key, ec.EllipticCurvePrivateKey) else None
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, digest)
    return key, request.public_bytes(serialization.Encoding.PEM)


def verdict_rows(first: int, count: int, *, at_us: int = START_US, verdict: int = 0) -> tuple[VerdictRow, ...]:
    """Verdicts `first …`, one every 50 ms; the same arguments give the same rows."""
    return tuple(
        VerdictRow(seq, at_us + seq * 50_000, seq, 0, verdict, 0, float(seq % 7) / 8, 12_300, f"part-{seq}")
        for seq in range(first, first + count)
    )


def record_rows(first: int, records: Iterable[messages.Record], *, at_us: int = START_US) -> tuple[RecordRow, ...]:
    """Records `first …` with their bytes."""
    return tuple(
        RecordRow(first + i, at_us + (first + i) * 1000, messages.encode(record)) for i, record in enumerate(records)
    )


@dataclass
class Stock:
    """What a simulated gateway has of one stream: what it made, and what has no receipt yet."""

    rows: list[VerdictRow | RecordRow] = field(default_factory=list)
    held: Ranges = EMPTY
    declared: Ranges = EMPTY


class GatewaySimulator:
    """A gateway that says what it is told to. `received` wakes whenever a receipt has come and been verified."""

    def __init__(self, name: str, link: Link, key: PrivateKey, hub_keys: Sequence[PublicKey], epoch: int = 7) -> None:
        self.name = name
        self.link = link
        self.key = key
        self.epoch = epoch
        self.run = 1
        self.now_us = START_US
        self.receipts: list[Receipt] = []
        self.forged = 0
        self.received = threading.Condition()
        self._hub_keys = {envelope.key_id(each): each for each in hub_keys}
        self._stocks: dict[tuple[int, str], Stock] = {}

    def start(self) -> None:
        """Connect and listen for receipts."""
        self.link.subscribe(topics.down_filter(self.name))
        self.link.start(self._on_message, lambda: None)

    def judge(self, count: int, *, verdict: int = 0) -> None:
        """Make verdicts, numbered on."""
        stock = self.stock(Stream.VERDICTS)
        first = len(stock.rows) + 1
        stock.rows += verdict_rows(first, count, verdict=verdict)
        stock.held = ranges.union(stock.held, ((first, first + count - 1),))

    def record(self, stream: str, *records: messages.Record) -> None:
        """Make records of another stream, numbered on."""
        stock = self.stock(stream)
        first = len(stock.rows) + 1
        stock.rows += record_rows(first, records)
        stock.held = ranges.union(stock.held, ((first, first + len(records) - 1),))

    def stock(self, stream: str) -> Stock:
        """What there is of a stream in the present epoch."""
        return self._stocks.setdefault((self.epoch, stream), Stock())

    def batch(self, stream: str, first: int, count: int) -> Batch:
        """The batch of these rows: always the same for the same rows."""
        rows = self.stock(stream).rows[first - 1 : first - 1 + count]
        return Batch(
            gateway=self.name,
            epoch=self.epoch,
            stream=stream,
            time=Time("boot-1", self.run, START_US, 1_000_000),
            contexts=(CONTEXT,) if stream == Stream.VERDICTS else (),
            verdicts=tuple(row for row in rows if isinstance(row, VerdictRow)),
            records=tuple(row for row in rows if isinstance(row, RecordRow)),
        )

    def seal(self, batch: Batch) -> tuple[str, bytes]:
        """Topic and message of a batch, signed."""
        topic = topics.up(self.name, batch.stream)
        return topic, envelope.seal(topic, batches.encode(batch), self.key)

    def send(self, stream: str, first: int, count: int) -> bool:
        """Send rows once; whether the link took them."""
        return self.link.publish(*self.seal(self.batch(stream, first, count)))

    def send_held(self, rows: int = 100) -> int:
        """Send everything without a receipt once, as far as the link takes it; says how many messages that were."""
        pieces = [
            (epoch, stream, at, min(rows, last - at + 1))
            for (epoch, stream), stock in self._stocks.items()
            for first, last in stock.held
            for at in range(first, last + 1, rows)
        ]
        sent = 0
        for epoch, stream, first, count in pieces:
            if epoch == self.epoch and not self.send(stream, first, count):
                break
            sent += 1
        return sent

    def state(self) -> GatewayState:
        """What the gateway would say of itself now."""
        lines = tuple(
            StreamAccount(epoch, stream, len(stock.rows), stock.held, stock.declared)
            for (epoch, stream), stock in self._stocks.items()
        )
        made = len(self.stock(Stream.VERDICTS).rows)
        pipeline = PipelineState(
            "seal", "surface-anomaly", "1.0.0", "ab" * 32, "fp32", made, {"OK": made}, 4.0, 9.0, ready=True
        )
        self.now_us += 1
        return GatewayState(
            gateway=self.name, agent_version="0.1.0", place=Place(), sent_us=self.now_us, streams=lines,
            time=Time("boot-1", self.run, START_US, 1_000_000), pipelines=(pipeline,), features=("image-anomaly",),
        )  # fmt: skip

    def send_state(self) -> bool:
        """Send the signed, retained state."""
        topic = topics.up(self.name, "state")
        return self.link.publish(topic, envelope.seal(topic, messages.encode(self.state()), self.key), retain=True)

    def await_receipts(self, timeout_s: float = 20.0) -> bool:
        """Wait until nothing is held any more."""
        with self.received:
            return self.received.wait_for(lambda: not any(stock.held for stock in self._stocks.values()), timeout_s)

    def _on_message(self, topic: str, payload: bytes) -> None:
        try:
            sealed = envelope.unseal(topic, payload, self._hub_keys)
            receipt = messages.decode(Receipt, sealed.body)
        except ProtocolError:
            self.forged += 1
            return
        with self.received:
            self.receipts.append(receipt)
            stock = self._stocks.get((receipt.epoch, receipt.stream))
            if stock is not None:
                kept = ranges.subtract(ranges.intersect(receipt.answers, receipt.committed), receipt.conflicts)
                stock.held = ranges.subtract(stock.held, kept)
            self.received.notify_all()
