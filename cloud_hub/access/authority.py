"""The enrolment authority: signs certificates of gateways and of the broker, and lists those it has revoked.

A certificate lets its holder speak to the broker under its name. It does not vouch for what is said: envelopes do.
"""

import datetime as dt
import ipaddress
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cloud_hub.access import keys
from cloud_hub.errors import ConfigError
from cloud_hub.storage import files
from edge_protocol import envelope

_CLOCK_SLACK = dt.timedelta(days=1)
"""Gateways whose clock is somewhat behind still take a fresh certificate."""

_ROOT_YEARS, _LEAF_YEARS = 20, 5
_YEAR = dt.timedelta(days=365)


class Authority:
    """The key and the root certificate that all certificates of this hub come from."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate

    @classmethod
    def create(cls, key_file: Path, roots_file: Path, now_us: int) -> "Authority":
        """Make an authority in two new files.

        Raises:
            ConfigError: one is there already, or cannot be written.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("Lineside enrolment authority")
        certificate = (
            _builder(name, name, key.public_key(), now_us, _ROOT_YEARS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        files.write_new(key_file, keys.private_pem(key), mode=0o600)
        files.write_new(roots_file, certificate.public_bytes(serialization.Encoding.PEM))
        return cls(key, certificate)

    @classmethod
    def load(cls, key_file: Path, roots_file: Path) -> "Authority":
        """The authority in its two files.

        Raises:
            ConfigError: one is missing or does not hold what it should.
        """
        key = keys.load(key_file)
        try:
            certificate = x509.load_pem_x509_certificate(roots_file.read_bytes())
        except (OSError, ValueError) as error:
            message = f"{roots_file} is not the authority's certificate: {error}"
            raise ConfigError(message, "restore it from the backup of this folder") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            message = f"{key_file} is not the authority's key"
            raise ConfigError(message, "restore it from the backup of this folder")
        return cls(key, certificate)

    @property
    def roots_pem(self) -> bytes:
        """What gateways check the broker's certificate with."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def sign(self, name: str, public_key: envelope.PublicKey, now_us: int) -> x509.Certificate:
        """A certificate with which the holder of this key may speak as `name`."""
        return self._leaf(name, public_key, now_us, ExtendedKeyUsageOID.CLIENT_AUTH).sign(self._key, hashes.SHA256())

    def sign_server(self, host: str, public_key: envelope.PublicKey, now_us: int) -> x509.Certificate:
        """A certificate for a broker that is reached as `host`."""
        names = x509.SubjectAlternativeName([_general_name(host)])
        leaf = self._leaf(host, public_key, now_us, ExtendedKeyUsageOID.SERVER_AUTH)
        return leaf.add_extension(names, critical=False).sign(self._key, hashes.SHA256())

    def revocations(self, serials: Iterable[int], now_us: int) -> bytes:
        """The list of certificates that hold no more, as PEM."""
        now = _time(now_us)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._certificate.subject)
        builder = builder.last_update(now - _CLOCK_SLACK).next_update(now + _YEAR)
        for serial in sorted(serials):
            one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
            builder = builder.add_revoked_certificate(one.build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _leaf(
        self, name: str, public_key: envelope.PublicKey, now_us: int, purpose: x509.ObjectIdentifier
    ) -> x509.CertificateBuilder:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            _builder(_name(name), self._certificate.subject, public_key, now_us, _LEAF_YEARS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(issuer, critical=False)
        )


def _builder(
    name: x509.Name, issuer: x509.Name, key: envelope.PublicKey, now_us: int, years: int
) -> x509.CertificateBuilder:
    now = _time(now_us)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SLACK)
        .not_valid_after(now + years * _YEAR)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _time(at_us: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(at_us // 1_000_000, dt.UTC)
