"""What a verdict costs on the wire: the record of the gateway that was just measured, sealed as its uplink seals it."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519

from edge_agent.clock import Clock
from edge_agent.store import Store
from edge_agent.telemetry.outbox import Outbox
from edge_protocol import batch, envelope, ranges, topics
from edge_protocol.codes import Stream
from edge_protocol.ranges import Ranges
from scripts.benches.failure import BenchError
from scripts.benches.ground import gateway
from scripts.benches.ground.supplies import say

ROWS = 100


def measure(folder: Path) -> dict[str, float]:
    """The figure of the wire, of the batches of 100 that a gateway in `folder` has on record.

    Raises:
        BenchError: it has not recorded so many.
    """
    store = Store.open(gateway.data_dir(folder) / "lineside.db", quota_bytes=2**30, clock=Clock())
    try:
        sizes = _sealed(Outbox(store, gateway.ID))
    finally:
        store.close()
    if not sizes:
        message = f"the gateway has recorded no {ROWS} verdicts in a row"
        raise BenchError(message, "see whether it judged at all: edge-agent run")
    say(f"{len(sizes)} signed batches of {ROWS} verdicts: {min(sizes)} to {max(sizes)} bytes")
    return {"wire_bytes_per_verdict": sum(sizes) / len(sizes) / ROWS}


def _sealed(outbox: Outbox) -> list[int]:
    key, topic = ed25519.Ed25519PrivateKey.generate(), topics.up(gateway.ID, Stream.VERDICTS)
    skip: dict[tuple[int, str], Ranges] = {
        (account.epoch, account.stream): account.held
        for account in outbox.accounts()
        if account.stream != Stream.VERDICTS
    }
    sizes = []
    while (found := outbox.next_batch(skip, ROWS)) is not None:
        taken = ((found.rows[0].seq, found.rows[-1].seq),)
        skip[found.epoch, found.stream] = ranges.union(skip.get((found.epoch, found.stream), ()), taken)
        if len(found.rows) == ROWS:
            sizes.append(len(envelope.seal(topic, batch.encode(found), key)))
    return sizes
