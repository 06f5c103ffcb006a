"""Who this gateway is: a key made here that never leaves, the hub's certificate for it, and the hub's own keys."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID

from edge_agent import durable
from edge_agent.errors import ConfigError, IdentityError
from edge_protocol import envelope, topics
from edge_protocol.errors import SignatureError

KEY = "key.pem"
REQUEST = "request.csr"


@dataclass(frozen=True, slots=True)
class Identity:
    """The key that signs what this gateway says, and the keys that the hub signs with, by key id."""

    key: envelope.PrivateKey
    hub_keys: Mapping[bytes, envelope.PublicKey]


def new(folder: Path, gateway: str) -> str:
    """Make a key in `folder` and the PEM request for its certificate, with the gateway's id as common name.

    Raises:
        ConfigError: not a gateway id.
        IdentityError: there is a key already, or the folder cannot be written.
    """
    if not topics.is_gateway_id(gateway):
        message = f"{gateway!r} is not a gateway id"
        raise ConfigError(message, "use 1 to 40 of a-z, 0-9 and hyphen")
    if (folder / KEY).exists():
        message = f"{folder / KEY} is there already and is never overwritten"
        raise IdentityError(message, "keep it, or move the folder away to become another gateway")
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, gateway)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, None)
    csr = request.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        durable.write_file(folder / KEY, private, mode=0o600)
        durable.write_file(folder / REQUEST, csr)
    except OSError as error:
        message = f"{folder} cannot be written: {error.strerror}"
        raise IdentityError(message, "choose a folder of this user, or run as the agent's user") from error
    return csr.decode()


def load(key_file: Path, hub_keys_file: Path) -> Identity:
    """The identity in these files.

    Raises:
        IdentityError: a file is missing or does not hold what it should.
    """
    enrol = "enrol the gateway: edge-agent identity new, then cloud-hub enrol with its request"
    try:
        key = envelope.load_private_key(_read(key_file, enrol))
        rows = json.loads(_read(hub_keys_file, enrol))["keys"]
        keys = [envelope.load_public_key(row["pem"].encode()) for row in rows]
    except SignatureError as error:
        message = f"{key_file} or {hub_keys_file}: {error}"
        raise IdentityError(message, enrol) from error
    except (ValueError, KeyError, TypeError) as error:
        message = f"{hub_keys_file} is not a list of the hub's keys: {error!r}"
        raise IdentityError(message, enrol) from error
    return Identity(key, {envelope.key_id(each): each for each in keys})


def _read(path: Path, hint: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise IdentityError(message, hint) from error
