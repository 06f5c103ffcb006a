"""Who this gateway is: a key made here that never leaves, the hub's certificate for it, and the hub's own keys."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID

from edge_agent import durable
from edge_agent.config import Config
from edge_agent.errors import ConfigError, IdentityError
from edge_protocol import envelope, topics
from edge_protocol.errors import SignatureError

KEY = "key.pem"
REQUEST = "request.csr"
_ENROL = "enrol the gateway: edge-agent identity new, then cloud-hub enrol with its request"


@dataclass(frozen=True, slots=True)
class Identity:
    """The key that signs what this gateway says, and the keys that the hub signs with, by key id."""

    key: envelope.PrivateKey
    hub_keys: Mapping[bytes, envelope.PublicKey]


class _Row(msgspec.Struct):
    pem: str


class _Listing(msgspec.Struct):
    keys: list[_Row]


def new(folder: Path, gateway: str) -> str:
    """Make a key in `folder` and the PEM request for its certificate, with the gateway's id as common name.

    Raises:
        ConfigError: not a gateway id.
        IdentityError: there is a key already, or the folder cannot be written.
    """
    if not topics.is_gateway_id(gateway):
        message = f"{gateway!r} is not a gateway id"
        raise ConfigError(message, "use 1 to 40 of a-z, 0-9 and hyphen")
    for path in (folder / KEY, folder / REQUEST):
        if os.path.lexists(path):
            message = f"{path} is there already and is never overwritten"
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
        _withdraw(folder)
        message = f"{folder} cannot be written: {error.strerror}"
        raise IdentityError(message, "choose a folder of this user, or run as the agent's user") from error
    return csr.decode()


def why_no_updates(config: Config) -> str:
    """Why this gateway takes no models from a hub; nothing when it does."""
    if config.hub is None:
        return "off: there is no [hub]"
    roots = (config.identity.models_root_file, config.identity.director_root_file)
    missing = " and ".join(path.name for path in roots if not path.is_file())
    return f"off: {missing} of its enrolment is missing" if missing else ""


def _withdraw(folder: Path) -> None:
    """Leave no half of an identity behind. What lies there is ours: nothing did when we began."""
    for name in (KEY, REQUEST):
        for path in (folder / name, folder / f".{name}.new"):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def load(key_file: Path, hub_keys_file: Path, certificate_file: Path, gateway: str) -> Identity:
    """The identity in these files. The certificate may be missing; one that is there must be this gateway's.

    Raises:
        IdentityError: a file is missing or does not hold what it should.
    """
    try:
        key = envelope.load_private_key(_read(key_file))
    except SignatureError as error:
        message = f"{key_file}: {error}"
        raise IdentityError(message, _ENROL) from error
    if os.path.lexists(certificate_file):
        _check_certificate(certificate_file, key.public_key(), gateway)
    return Identity(key, _load_hub_keys(hub_keys_file))


def _load_hub_keys(path: Path) -> dict[bytes, envelope.PublicKey]:
    try:
        keys = [
            envelope.load_public_key(row.pem.encode()) for row in msgspec.json.decode(_read(path), type=_Listing).keys
        ]
    except (SignatureError, msgspec.MsgspecError, UnicodeError) as error:
        message = f"{path} is not the list of the hub's keys: {error}"
        raise IdentityError(message, _ENROL) from error
    if not keys:
        message = f"{path} names no key: nothing the hub says could be believed"
        raise IdentityError(message, _ENROL)
    return {envelope.key_id(each): each for each in keys}


def _check_certificate(path: Path, key: envelope.PublicKey, gateway: str) -> None:
    try:
        certificate = x509.load_pem_x509_certificate(_read(path))
        is_ours = certificate.public_key() == key
        names = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except (ValueError, UnsupportedAlgorithm) as error:
        message = f"{path} is not a PEM certificate: {error}"
        raise IdentityError(message, _ENROL) from error
    if not is_ours:
        message = f"{path} was given for another key than this gateway's"
        raise IdentityError(message, "put back the key that it was given for, or enrol the gateway again")
    if names != [gateway]:
        message = f"{path} is for gateway {', '.join(names)!r}, the configuration says {gateway!r}"
        raise IdentityError(message, "correct [gateway] id, or take this gateway's own identity folder")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise IdentityError(message, _ENROL) from error
