"""Envelopes: what verifies was signed by that key, for that topic, byte for byte."""

import hashlib
import random

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from edge_protocol import envelope
from edge_protocol.envelope import Envelope
from edge_protocol.errors import DecodeError, SignatureError
from edge_protocol.messages import MAX_MESSAGE_BYTES

TOPIC = "lineside/v1/g/1f/press-1/up/verdicts"
KEYS = {
    envelope.ED25519: ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))),
    envelope.ECDSA_P256: ec.derive_private_key(0xC0FFEE, ec.SECP256R1()),
}


def _known(*keys) -> dict[bytes, envelope.PublicKey]:
    return {envelope.key_id(key.public_key()): key.public_key() for key in keys}


@pytest.fixture(params=KEYS)
def key(request):
    """A key of each kind."""
    return KEYS[request.param]


def _pem(private) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public_pem(private) -> bytes:
    return private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


@pytest.mark.parametrize("alg", KEYS)
def test_what_was_sealed_is_unsealed(alg):
    """The body comes back, with the algorithm and the key that vouch for it."""
    key = KEYS[alg]

    found = envelope.unseal(TOPIC, envelope.seal(TOPIC, b"body\0\xff", key), _known(key))

    assert (found.alg, found.body, found.key_id) == (alg, b"body\0\xff", envelope.key_id(key.public_key()))


def test_the_signature_is_the_specifications():
    """Ed25519 over prefix, topic and body with zero bytes between: a peer in another language makes the same bytes."""
    key = KEYS[envelope.ED25519]

    sealed = envelope.seal("a/b", b"body", key)

    assert key.sign(b"lineside/v1\0a/b\0body") in sealed
    spki = bytes.fromhex("302a300506032b6570032100") + key.public_key().public_bytes_raw()
    assert envelope.key_id(key.public_key()) == hashlib.sha256(spki).digest()[:8]


def test_a_body_of_another_topic_is_refused(key):
    """A message cannot be played back as another gateway's or another stream's."""
    sealed = envelope.seal(TOPIC, b"body", key)

    with pytest.raises(SignatureError):
        envelope.unseal(TOPIC.replace("press-1", "press-2"), sealed, _known(key))


def test_the_border_between_topic_and_body_cannot_be_moved(key):
    """The same signed bytes with the zero byte of the body taken for the end of the topic are refused."""
    sealed = msgspec.msgpack.decode(envelope.seal(TOPIC, b"a\0b", key), type=Envelope)

    shifted = msgspec.msgpack.encode(msgspec.structs.replace(sealed, body=b"b"))

    with pytest.raises(SignatureError):
        envelope.unseal(TOPIC + "\0a", shifted, _known(key))


def test_an_unknown_key_is_refused_with_a_hint(key):
    """A message of a key that is not known says what to do, and names the key."""
    with pytest.raises(SignatureError, match=envelope.key_id(key.public_key()).hex()) as caught:
        envelope.unseal(TOPIC, envelope.seal(TOPIC, b"body", key), {})

    assert caught.value.hint


@pytest.mark.parametrize("alg", ["", "none", *KEYS])
def test_an_algorithm_that_is_not_the_keys_is_refused(alg):
    """The algorithm is the key's, whatever the envelope says."""
    for own, key in KEYS.items():
        sealed = msgspec.msgpack.decode(envelope.seal(TOPIC, b"body", key), type=Envelope)
        forged = msgspec.msgpack.encode(msgspec.structs.replace(sealed, alg=alg))

        if alg == own:
            assert envelope.unseal(TOPIC, forged, _known(key)).body == b"body"
        else:
            with pytest.raises(SignatureError):
                envelope.unseal(TOPIC, forged, _known(key))


def test_another_keys_signature_is_refused(key):
    """Naming a known key does not make its signature."""
    stranger = ed25519.Ed25519PrivateKey.generate()
    sealed = msgspec.msgpack.decode(envelope.seal(TOPIC, b"body", stranger), type=Envelope)
    known = envelope.key_id(key.public_key())

    forged = msgspec.msgpack.encode(msgspec.structs.replace(sealed, key_id=known))

    with pytest.raises(SignatureError):
        envelope.unseal(TOPIC, forged, _known(key))


def test_every_flipped_bit_is_refused(key):
    """There is no bit of a sealed message that can be changed and still verify another body."""
    sealed = envelope.seal(TOPIC, b"a body of some length", key)

    for place in range(len(sealed) * 8):
        forged = bytearray(sealed)
        forged[place // 8] ^= 1 << place % 8
        with pytest.raises((SignatureError, DecodeError)):
            envelope.unseal(TOPIC, bytes(forged), _known(key))


def test_mutated_messages_are_taken_or_refused(key):
    """Truncated and overwritten messages lead to DecodeError or SignatureError and nothing else."""
    rng = random.Random(99)  # noqa: S311 (seeded: a failure is found again)
    sealed = envelope.seal(TOPIC, b"body", key)
    for _ in range(2000):
        raw = bytearray(sealed[: rng.randint(0, len(sealed))])
        for _ in range(rng.randint(0, 4)):
            if raw:
                raw[rng.randrange(len(raw))] = rng.randrange(256)
        if bytes(raw) != sealed:
            with pytest.raises((SignatureError, DecodeError)):
                envelope.unseal(TOPIC, bytes(raw), _known(key))


def test_oversized_messages_are_refused_on_both_sides(key):
    """Nothing above the limit is sealed, and nothing above it is parsed."""
    with pytest.raises(ValueError, match="limit"):
        envelope.seal(TOPIC, bytes(MAX_MESSAGE_BYTES), key)
    with pytest.raises(DecodeError, match="limit"):
        envelope.peek(bytes(MAX_MESSAGE_BYTES + 1))


@pytest.mark.parametrize("topic", ["", "a/#", "a\0b", "\ud800"])
def test_what_is_no_topic_is_not_sealed(key, topic):
    """A topic that no broker takes is the caller's mistake."""
    with pytest.raises(ValueError, match=r"topic|surrogates"):
        envelope.seal(topic, b"body", key)


def test_keys_come_back_from_their_pem(key):
    """A key read from its PEM signs what the other side's key verifies."""
    private, public = envelope.load_private_key(_pem(key)), envelope.load_public_key(_public_pem(key))

    sealed = envelope.seal(TOPIC, b"body", private)

    assert envelope.unseal(TOPIC, sealed, {envelope.key_id(public): public}).body == b"body"


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"\xff" * 40,
        _pem(rsa.generate_private_key(65537, 2048)),
        _pem(ec.generate_private_key(ec.SECP384R1())),
        KEYS[envelope.ED25519].private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        ),
    ],
    ids=["empty", "nonsense", "noise", "rsa", "p-384", "encrypted"],
)
def test_a_file_that_is_no_signing_key_is_refused(pem):
    """Only unencrypted Ed25519 and ECDSA P-256 keys sign."""
    with pytest.raises(SignatureError):
        envelope.load_private_key(pem)


@pytest.mark.parametrize("private", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())])
def test_a_file_that_is_no_verifying_key_is_refused(private):
    """Only Ed25519 and ECDSA P-256 keys verify."""
    for pem in (b"", _public_pem(private), _pem(private)):
        with pytest.raises(SignatureError):
            envelope.load_public_key(pem)
