"""Somebody who has the broker and the hub's online key, and would have a gateway run what no publisher signed.

Real metadata comes in, forged metadata goes out; what a gateway says of it is the demonstration's point.
"""

import queue
import secrets
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp

from edge_protocol import envelope, metadata
from edge_protocol.mqtt import MqttLink
from edge_protocol.topics import FLEET_MODELS
from scripts.day.children import DayError

PATIENCE_S = 10.0
LOOK_S = 0.05
PUBLISHER = "pub-"
"""How the roles of publishers are called."""


class Thief:
    """Listens to and speaks on the broker at `port`. A context manager: leaving hangs up."""

    def __init__(self, port: int) -> None:
        # A name of its own each time: under an old one the broker would first tell what was missed.
        self._link = MqttLink(f"mqtt://127.0.0.1:{port}", f"thief-{secrets.token_hex(4)}")
        self._heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        self._link.subscribe(FLEET_MODELS)
        self._link.start(lambda _topic, payload: self._heard.put(payload), lambda: None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._link.close()

    def overhear(self) -> bytes:
        """The latest message that carries the publishers' metadata.

        Raises:
            DayError: there is none.
        """
        try:
            payload = self._heard.get(timeout=PATIENCE_S)
            while not self._heard.empty():
                payload = self._heard.get_nowait()
        except queue.Empty:
            message = "the broker holds no publishers' metadata"
            raise DayError(message) from None
        return payload

    def send(self, payload: bytes) -> None:
        """Put `payload` in the place of that message.

        Raises:
            DayError: the broker does not take it.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not self._link.publish(FLEET_MODELS, payload, retain=True):
            if time.monotonic() > deadline:
                message = "the broker does not take the thief's message"
                raise DayError(message)
            time.sleep(LOOK_S)


def by_a_stranger(payload: bytes, online_key: Path, path: str) -> bytes:
    """The message with one more release, at `path`, signed with a key that nobody delegated to.

    Everything above that signature is right: snapshot and timestamp are signed with the stolen online key.
    """
    files = metadata.unpack(metadata.carried(payload).body)
    online = CryptoSigner(envelope.load_private_key(online_key.read_bytes()))
    timestamp = Metadata[Timestamp].from_bytes(files["timestamp.json"])
    snapshot = Metadata[Snapshot].from_bytes(files[f"{timestamp.signed.snapshot_meta.version}.snapshot.json"])
    role = next(name for name in snapshot.signed.meta if name.startswith(PUBLISHER))
    publisher = Metadata[Targets].from_bytes(files[f"{snapshot.signed.meta[role].version}.{role}"])
    publisher.signed.targets[path] = TargetFile.from_data(path, b"not a manifest")
    publisher.signed.version += 1
    publisher.sign(CryptoSigner.generate_ed25519())
    snapshot.signed.meta[role] = MetaFile(publisher.signed.version)
    snapshot.signed.version += 1
    snapshot.sign(online)
    timestamp.signed.snapshot_meta = MetaFile(snapshot.signed.version)
    timestamp.signed.version += 1
    timestamp.sign(online)
    forged = {
        f"{publisher.signed.version}.{role}": publisher.to_bytes(),
        f"{snapshot.signed.version}.snapshot.json": snapshot.to_bytes(),
        "timestamp.json": timestamp.to_bytes(),
    }
    return metadata.carry(metadata.pack(files | forged))
