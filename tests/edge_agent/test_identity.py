import json
import resource
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from cloud_hub.access import keys
from edge_agent import identity
from edge_agent.errors import ConfigError, IdentityError
from edge_agent.identity import Identity
from edge_protocol import envelope
from tests.simulators import START_US

HUB = ed25519.Ed25519PrivateKey.generate()


def pem(key: object) -> bytes:
    """A private key as unencrypted PEM."""
    return key.private_bytes(  # type: ignore[attr-defined,no-any-return]
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certify(key: envelope.PrivateKey, name: str) -> bytes:
    """A certificate for `key` in the name of `name`; who signed it is not asked here."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.fromtimestamp(START_US / 1e6, UTC)
    builder = x509.CertificateBuilder(
        subject, subject, key.public_key(), x509.random_serial_number(), now, now + timedelta(1)
    )
    return builder.sign(HUB, None).public_bytes(serialization.Encoding.PEM)


class Folder:
    """An identity's folder, as after enrolment."""

    def __init__(self, path: Path) -> None:
        self.path = path
        identity.new(path, "press-1")
        self.key = envelope.load_private_key((path / "key.pem").read_bytes())
        (path / "hub-keys.json").write_bytes(keys.listing([HUB.public_key()]))
        (path / "certificate.pem").write_bytes(certify(self.key, "press-1"))

    def load(self) -> Identity:
        """What the agent loads."""
        path = self.path
        return identity.load(path / "key.pem", path / "hub-keys.json", path / "certificate.pem", "press-1")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A sound identity."""
    return Folder(tmp_path / "identity")


def test_a_new_key_signs_its_request(tmp_path: Path) -> None:
    """The request carries the gateway's id and the new key's signature; the key is for its owner's eyes only."""
    csr = identity.new(tmp_path / "identity", "press-1")

    request = x509.load_pem_x509_csr(csr.encode())
    key = envelope.load_private_key((tmp_path / "identity" / "key.pem").read_bytes())
    assert request.is_signature_valid
    assert request.public_key() == key.public_key()
    assert request.subject.rfc4514_string() == "CN=press-1"
    assert stat.S_IMODE((tmp_path / "identity" / "key.pem").stat().st_mode) == 0o600


def test_what_was_enrolled_can_be_loaded(folder: Folder) -> None:
    """The key and the hub's keys by their ids; the certificate is needed only for TLS."""
    found = folder.load()
    (folder.path / "certificate.pem").unlink()
    without = folder.load()

    assert pem(found.key) == pem(folder.key) == pem(without.key)
    assert set(found.hub_keys) == {envelope.key_id(HUB.public_key())}


@pytest.mark.parametrize("name", ["key.pem", "request.csr"])
def test_nothing_is_overwritten(tmp_path: Path, name: str) -> None:
    """A key or request that is there stays as it is, whatever it holds, and no other file appears."""
    (tmp_path / name).write_text("mine")

    with pytest.raises(IdentityError, match="never overwritten") as caught:
        identity.new(tmp_path, "press-1")

    assert caught.value.hint
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]


@pytest.mark.parametrize("name", ["", "Press-1", "a/b", "+", "press 1", "x" * 41])
def test_a_name_that_is_no_gateway_id_is_refused(tmp_path: Path, name: str) -> None:
    """The id stands in topics and file names: nothing else is taken, and nothing is made."""
    with pytest.raises(ConfigError, match="not a gateway id"):
        identity.new(tmp_path / "identity", name)

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_line_and_a_cure(tmp_path: Path) -> None:
    """A file where the folder should be is named, and stays."""
    (tmp_path / "identity").write_text("a file")

    with pytest.raises(IdentityError, match="cannot be written") as caught:
        identity.new(tmp_path / "identity", "press-1")

    assert caught.value.hint
    assert (tmp_path / "identity").read_text() == "a file"


def test_a_full_disk_leaves_no_half_identity(tmp_path: Path) -> None:
    """When the disk fills within the request, the key goes too: the next attempt begins anew."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, hard))
    try:
        with pytest.raises(IdentityError, match="File too large"):
            identity.new(tmp_path, "press-1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert list(tmp_path.iterdir()) == []


def encrypted(folder: Folder) -> None:
    """A key with a passphrase."""
    locked = serialization.BestAvailableEncryption(b"secret")
    raw = folder.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    (folder.path / "key.pem").write_bytes(raw)


def listing(content: object) -> Callable[[Folder], None]:
    """Another list of hub keys."""

    def spoil(folder: Folder) -> None:
        (folder.path / "hub-keys.json").write_text(content if isinstance(content, str) else json.dumps(content))

    return spoil


def key_of(key: object) -> Callable[[Folder], None]:
    """Another key."""
    return file_of("key.pem", pem(key))


def file_of(name: str, content: bytes) -> Callable[[Folder], None]:
    """A file with other bytes."""

    def spoil(folder: Folder) -> None:
        (folder.path / name).write_bytes(content)

    return spoil


def no(name: str) -> Callable[[Folder], None]:
    """A file that is missing."""
    return lambda folder: (folder.path / name).unlink()


def folder_at(name: str) -> Callable[[Folder], None]:
    """A folder where a file should be."""

    def spoil(folder: Folder) -> None:
        (folder.path / name).unlink()
        (folder.path / name).mkdir()

    return spoil


PUBLIC = HUB.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
WRONG = {
    "no key": (no("key.pem"), "key.pem: No such file"),
    "a folder for a key": (folder_at("key.pem"), "key.pem: Is a directory"),
    "an empty key": (file_of("key.pem", b""), "key.pem: not an unencrypted PEM private key"),
    "noise for a key": (file_of("key.pem", bytes(range(256))), "key.pem: not an unencrypted PEM private key"),
    "a public key": (file_of("key.pem", PUBLIC), "key.pem: not an unencrypted PEM private key"),
    "a locked key": (encrypted, "key.pem: not an unencrypted PEM private key"),
    "an RSA key": (key_of(rsa.generate_private_key(65537, 2048)), "key.pem: .* is not Ed25519 or ECDSA P-256"),
    "another curve": (key_of(ec.generate_private_key(ec.SECP384R1())), "key.pem: .* is not Ed25519 or ECDSA P-256"),
    "another gateway's key": (
        key_of(ed25519.Ed25519PrivateKey.generate()),
        "certificate.pem was given for another key",
    ),
    "a broken certificate": (file_of("certificate.pem", b"-----BEGIN"), "certificate.pem is not a PEM certificate"),
    "no hub keys": (no("hub-keys.json"), "hub-keys.json: No such file"),
    "no JSON": (listing("keys: []"), "hub-keys.json is not the list"),
    "bytes": (file_of("hub-keys.json", b"\xff\xfe"), "hub-keys.json is not the list"),
    "no keys in it": (listing({"keys": []}), "hub-keys.json names no key"),
    "another list": (listing([1, 2]), "hub-keys.json is not the list"),
    "a number for a key": (listing({"keys": [{"pem": 7}]}), "hub-keys.json is not the list"),
    "half a surrogate": (listing('{"keys": [{"pem": "\\ud800"}]}'), "hub-keys.json is not the list"),
    "a private key in it": (listing({"keys": [{"pem": pem(HUB).decode()}]}), "hub-keys.json is not the list"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_is_named_with_a_cure(folder: Folder, what: str) -> None:
    """Whatever is wrong with one of the files: one line with its name and the cause, one with the cure, exit 2."""
    spoil, expected = WRONG[what]
    spoil(folder)

    with pytest.raises(IdentityError, match=expected) as caught:
        folder.load()

    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert "\n" not in caught.value.hint


def test_another_gateways_identity_is_refused(folder: Folder) -> None:
    """A whole folder of another gateway, copied by mistake, is noticed before the hub refuses what it signs."""
    (folder.path / "certificate.pem").write_bytes(certify(folder.key, "press-2"))

    with pytest.raises(IdentityError, match=r"for gateway 'press-2', the configuration says 'press-1'"):
        folder.load()
