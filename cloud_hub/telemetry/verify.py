"""Messages from outside become arrivals that can be trusted, or a refusal that says what was wrong. Pure functions.

Steps: known gateway → envelope → signature over this topic → body → what the body says fits the topic. Nothing after
a failed step is looked at.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from edge_protocol import batch as batches
from edge_protocol import envelope, messages, topics
from edge_protocol.batch import Batch
from edge_protocol.envelope import Envelope, PublicKey
from edge_protocol.errors import DecodeError, SignatureError
from edge_protocol.messages import AnyRecord, GatewayState, Link, Unknown, Want

STATE, LINK, WANT = "state", "link", "want"
RESERVED = frozenset({"object"})
"""Names below `up/` that are not streams and that this version does not answer."""


class Refusal(StrEnum):
    """Why a message was not taken, as it is counted."""

    OVERSIZED = "oversized"
    TOPIC = "topic"
    NOT_ENROLLED = "not-enrolled"
    ENVELOPE = "envelope"
    SIGNATURE = "signature"
    BODY = "body"
    MISMATCH = "mismatch"
    SCATTERED = "scattered"
    UNANSWERED = "unanswered"
    UNSTORABLE = "unstorable"


class Refused(Exception):
    """A message that is not taken. `kind` is counted, `detail` is for people."""

    def __init__(self, kind: Refusal, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Sender:
    """An enrolled gateway: its tenant and the keys it may sign with."""

    gateway: str
    tenant: str
    keys: Mapping[bytes, PublicKey]


Reading: TypeAlias = AnyRecord | Unknown | None
"""What the bytes of a record come to: None when they are no record at all."""


@dataclass(frozen=True, slots=True)
class BatchArrival:
    """A verified batch, what its records come to, row by row, and the message it came in."""

    tenant: str
    batch: Batch
    readings: tuple[Reading, ...]
    envelope: Envelope
    message: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 of the bytes that were signed."""
        return hashlib.sha256(self.envelope.body).digest()


@dataclass(frozen=True, slots=True)
class StateArrival:
    """A verified state, with its bytes and the key that signed them."""

    tenant: str
    state: GatewayState
    body: bytes
    key_id: bytes


@dataclass(frozen=True, slots=True)
class LinkArrival:
    """The unsigned hint whether a gateway is online."""

    gateway: str
    online: bool


@dataclass(frozen=True, slots=True)
class WantArrival:
    """A verified question for bytes of an object."""

    gateway: str
    want: Want


def open_batch(topic: str, message: bytes, sender: Sender) -> BatchArrival:
    """The batch in a message on `up/<stream>`.

    Raises:
        Refused: any of the steps failed.
    """
    sealed = _unseal(topic, message, sender)
    try:
        batch = batches.decode(sealed.body)
    except DecodeError as error:
        raise Refused(Refusal.BODY, str(error)) from error
    stream = topics.parse(topic).name
    if batch.gateway != sender.gateway or batch.stream != stream:
        detail = f"a batch of {batch.gateway[:60]}/{batch.stream[:60]} on {topic}"
        raise Refused(Refusal.MISMATCH, detail)
    readings = tuple(_read(row.body) for row in batch.records)
    return BatchArrival(sender.tenant, batch, readings, sealed, message)


def open_state(topic: str, message: bytes, sender: Sender) -> StateArrival:
    """The state in a message on `up/state`.

    Raises:
        Refused: any of the steps failed.
    """
    sealed = _unseal(topic, message, sender)
    try:
        state = messages.decode(GatewayState, sealed.body)
    except DecodeError as error:
        raise Refused(Refusal.BODY, str(error)) from error
    if state.gateway != sender.gateway:
        detail = f"a state of {state.gateway[:60]} on {topic}"
        raise Refused(Refusal.MISMATCH, detail)
    return StateArrival(sender.tenant, state, sealed.body, sealed.key_id)


def open_want(topic: str, message: bytes, sender: Sender) -> WantArrival:
    """The question in a message on `up/want`.

    Raises:
        Refused: any of the steps failed.
    """
    sealed = _unseal(topic, message, sender)
    try:
        return WantArrival(sender.gateway, messages.decode(Want, sealed.body))
    except DecodeError as error:
        raise Refused(Refusal.BODY, str(error)) from error


def open_link(topic: str, message: bytes) -> LinkArrival:
    """The hint in a message on `up/link`.

    Raises:
        Refused: not such a message.
    """
    try:
        return LinkArrival(topics.parse(topic).gateway, messages.decode(Link, message).online)
    except DecodeError as error:
        raise Refused(Refusal.BODY, str(error)) from error


def _unseal(topic: str, message: bytes, sender: Sender) -> Envelope:
    try:
        return envelope.unseal(topic, message, sender.keys)
    except DecodeError as error:
        raise Refused(Refusal.ENVELOPE, str(error)) from error
    except SignatureError as error:
        raise Refused(Refusal.SIGNATURE, str(error)) from error


def _read(body: bytes) -> Reading:
    try:
        return messages.decode_record(body)
    except DecodeError:
        return None
