"""The key the hub signs receipts with, and the list of its public keys that every gateway carries."""

import json
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from cloud_hub.errors import ConfigError
from cloud_hub.storage import files
from edge_protocol import envelope
from edge_protocol.errors import SignatureError


def create(path: Path) -> envelope.PrivateKey:
    """Make an Ed25519 key in a new file that only its owner reads.

    Raises:
        ConfigError: the file is there already, or cannot be written.
    """
    key = ed25519.Ed25519PrivateKey.generate()
    files.write_new(path, private_pem(key), mode=0o600)
    return key


def load(path: Path) -> envelope.PrivateKey:
    """The key in a file.

    Raises:
        ConfigError: there is none, or it is not a signing key.
    """
    hint = "restore it from the backup of this folder; without it gateways refuse what the hub says"
    try:
        return envelope.load_private_key(path.read_bytes())
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise ConfigError(message, hint) from error
    except SignatureError as error:
        message = f"{path}: {error}"
        raise ConfigError(message, hint) from error


def listing(keys: Iterable[envelope.PublicKey]) -> bytes:
    """The content of `hub-keys.json`: id, algorithm and PEM of each key."""
    rows = [{"key_id": envelope.key_id(key).hex(), "alg": algorithm(key), "pem": public_pem(key)} for key in keys]
    return json.dumps({"keys": rows}, indent=2).encode() + b"\n"


def algorithm(key: envelope.PublicKey) -> str:
    """What the key signs with, as envelopes call it."""
    return envelope.ED25519 if isinstance(key, ed25519.Ed25519PublicKey) else envelope.ECDSA_P256


def public_pem(key: envelope.PublicKey) -> str:
    """The public key as PEM."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem(key: envelope.PrivateKey) -> bytes:
    """The private key as unencrypted PEM: for files that only their owner reads."""
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
