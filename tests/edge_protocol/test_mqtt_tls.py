"""TLS to a real broker: both sides show a certificate, and a stranger on either side is refused."""

import datetime
import ipaddress
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge_protocol.mqtt import MqttLink, Tls
from tests.edge_protocol.brokers import Mosquitto
from tests.edge_protocol.link_contract import PATIENCE_S

SETTINGS = """user root
allow_anonymous false
cafile {folder}/ca.pem
certfile {folder}/server.pem
keyfile {folder}/server.key
require_certificate true
use_identity_as_username true
"""


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
        self._write("ca", self._name, self._key, x509.BasicConstraints(ca=True, path_length=0))

    def issue(self, name: str) -> Tls:
        """A certificate for `name`, valid for 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._write(name, subject, key, x509.BasicConstraints(ca=False, path_length=None))
        return Tls(self.folder / "ca.pem", self.folder / f"{name}.pem", self.folder / f"{name}.key")

    def _write(self, name, subject, key, constraints) -> None:
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(constraints, critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self.folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (self.folder / f"{name}.key").write_bytes(private)


@pytest.fixture
def factory(tmp_path):
    """The factory's own authority."""
    return Authority(tmp_path / "factory")


@pytest.fixture
def broker(factory, mosquitto, tmp_path):
    """Mosquitto that asks for the factory's certificates."""
    factory.issue("server")
    broker = Mosquitto(mosquitto, tmp_path, SETTINGS.format(folder=factory.folder))
    yield broker
    broker.close()


def _connects(broker: Mosquitto, tls: Tls, patience_s: float) -> bool:
    link = MqttLink(f"mqtts://127.0.0.1:{broker.ports['5']}", "gw-1", tls=tls, backoff_s=(0.05, 0.1))
    connected = threading.Event()
    link.start(lambda *_: None, connected.set)
    result = connected.wait(patience_s)
    link.close()
    return result


@pytest.mark.broker
def test_a_gateway_of_the_factory_connects(broker, factory):
    """With the factory's authority and a certificate of its making the link connects."""
    assert _connects(broker, factory.issue("gw-1"), PATIENCE_S)


@pytest.mark.broker
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")  # paho drops what fails to shake hands
def test_strangers_do_not_connect(broker, factory, tmp_path):
    """Neither a gateway without a certificate of the factory, nor to a broker whose authority it does not trust."""
    stranger = Authority(tmp_path / "stranger").issue("gw-1")
    ours = factory.issue("gw-1")
    no_certificate = Tls(ca_file=ours.ca_file)
    foreign_certificate = Tls(ours.ca_file, stranger.certificate_file, stranger.key_file)
    foreign_broker = Tls(stranger.ca_file, ours.certificate_file, ours.key_file)

    for tls in (no_certificate, foreign_certificate, foreign_broker):
        assert not _connects(broker, tls, 0.5)
