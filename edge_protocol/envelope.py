r"""Signed bytes: what is signed is exactly what is carried, and the topic it is carried on. Pure functions, no I/O.

    signed = b"lineside/v1\0" + topic + b"\0" + body

The topic is part of what is signed, so a body cannot be played back as another gateway's or another stream's.
"""

import hashlib
from collections.abc import Mapping
from typing import Annotated, TypeAlias

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from msgspec import Meta

from edge_protocol.errors import DecodeError, SignatureError
from edge_protocol.messages import MAX_MESSAGE_BYTES
from edge_protocol.topics import check_topic

ED25519 = "ed25519"
ECDSA_P256 = "ecdsa-p256-sha256"

PrivateKey: TypeAlias = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
PublicKey: TypeAlias = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey

_PREFIX = b"lineside/v1\0"


class Envelope(msgspec.Struct, array_like=True, frozen=True):
    """A body with the signature over it. `key_id` names the key, it does not vouch for it."""

    alg: Annotated[str, Meta(max_length=32)]
    key_id: Annotated[bytes, Meta(min_length=8, max_length=8)]
    body: bytes
    signature: Annotated[bytes, Meta(max_length=128)]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)


def key_id(key: PublicKey) -> bytes:
    """The first 8 bytes of the SHA-256 of the key's DER SubjectPublicKeyInfo."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).digest()[:8]


def signed_bytes(topic: str, body: bytes) -> bytes:
    """What is signed when `body` is sent on `topic`."""
    return _PREFIX + topic.encode() + b"\0" + body


def seal(topic: str, body: bytes, key: PrivateKey) -> bytes:
    """The message that carries `body` on `topic`, signed with `key` (Ed25519 or ECDSA P-256).

    Raises:
        ValueError: not a topic, or a message above `MAX_MESSAGE_BYTES`.
    """
    signed = signed_bytes(check_topic(topic), body)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        alg, signature = ED25519, key.sign(signed)
    else:
        alg, signature = ECDSA_P256, key.sign(signed, ec.ECDSA(hashes.SHA256()))
    message = _encoder.encode(Envelope(alg, key_id(key.public_key()), body, signature))
    if len(message) > MAX_MESSAGE_BYTES:
        problem = f"{len(message)} bytes for {topic} are above the limit of {MAX_MESSAGE_BYTES}"
        raise ValueError(problem)
    return message


def unseal(topic: str, message: bytes, keys: Mapping[bytes, PublicKey]) -> Envelope:
    """The envelope in `message`, its signature verified with the key of `keys` that it names.

    Raises:
        DecodeError: not an envelope, or above `MAX_MESSAGE_BYTES`.
        SignatureError: an unknown key, an algorithm that is not this key's, or a wrong signature.
    """
    envelope = peek(message)
    key = keys.get(envelope.key_id)
    if key is None:
        problem = f"no key {envelope.key_id.hex()} is known for {topic[:120]!r}"
        raise SignatureError(problem, "enrol the gateway again, or fetch the hub's current keys")
    try:
        # A topic with a zero byte could shift the border between topic and body.
        signed = signed_bytes(check_topic(topic), envelope.body)
        if isinstance(key, ed25519.Ed25519PublicKey) and envelope.alg == ED25519:
            key.verify(envelope.signature, signed)
        elif isinstance(key, ec.EllipticCurvePublicKey) and envelope.alg == ECDSA_P256:
            key.verify(envelope.signature, signed, ec.ECDSA(hashes.SHA256()))
        else:
            problem = f"key {envelope.key_id.hex()} does not sign with {envelope.alg!r}"
            raise SignatureError(problem)
    except (InvalidSignature, ValueError) as error:
        problem = f"the signature of key {envelope.key_id.hex()} on {topic[:120]!r} is wrong"
        raise SignatureError(problem) from error
    return envelope


def peek(message: bytes) -> Envelope:
    """The envelope in `message`, nothing verified.

    Raises:
        DecodeError: not an envelope, or above `MAX_MESSAGE_BYTES`.
    """
    if len(message) > MAX_MESSAGE_BYTES:
        problem = f"{len(message)} bytes are above the limit of {MAX_MESSAGE_BYTES}"
        raise DecodeError(problem)
    try:
        return _decoder.decode(message)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        problem = f"not an envelope: {error}"
        raise DecodeError(problem) from error


def load_private_key(pem: bytes) -> PrivateKey:
    """The signing key in an unencrypted PEM.

    Raises:
        SignatureError: not a PEM private key of a kind this protocol signs with.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        problem = f"not an unencrypted PEM private key: {error}"
        raise SignatureError(problem) from error
    if isinstance(key, ed25519.Ed25519PrivateKey) or _is_p256(key):
        return key  # type: ignore[return-value]
    problem = f"{type(key).__name__} is not Ed25519 or ECDSA P-256"
    raise SignatureError(problem)


def load_public_key(pem: bytes) -> PublicKey:
    """The verifying key in a PEM.

    Raises:
        SignatureError: not a PEM public key of a kind this protocol verifies with.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        problem = f"not a PEM public key: {error}"
        raise SignatureError(problem) from error
    if isinstance(key, ed25519.Ed25519PublicKey) or _is_p256(key):
        return key  # type: ignore[return-value]
    problem = f"{type(key).__name__} is not Ed25519 or ECDSA P-256"
    raise SignatureError(problem)


def _is_p256(key: object) -> bool:
    kinds = (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey)
    return isinstance(key, kinds) and isinstance(key.curve, ec.SECP256R1)
