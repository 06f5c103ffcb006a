"""Enrolment: who gets a certificate, and what the hub remembers of it."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from sqlalchemy import select

from cloud_hub.access import audit, enrolment
from cloud_hub.access.audit import Actor
from cloud_hub.access.authority import Authority
from cloud_hub.access.enrolment import Enrolled
from cloud_hub.clock import FixedClock
from cloud_hub.errors import EnrolmentError
from cloud_hub.storage.database import Database
from cloud_hub.storage.schema import audit as audit_table
from cloud_hub.storage.schema import gateway_keys, gateways
from cloud_hub.telemetry import fleet
from edge_protocol.envelope import PrivateKey
from edge_protocol.messages import Place
from tests.simulators import request_for

ACTOR = Actor("somebody", "a test")
PLACE = Place(site="berlin", line="press", timezone="Europe/Berlin", labels={"a": "b"})


class Desk:
    """Where requests are handed in."""

    def __init__(self, database: Database, authority: Authority, clock: FixedClock) -> None:
        self.database = database
        self.authority = authority
        self.clock = clock

    def enrol(self, csr: bytes, place: Place = PLACE, *, replace: bool = False) -> Enrolled:
        """Hand one in."""
        request = enrolment.read_request(csr, place, replace=replace)
        with self.database.writing() as connection:
            return enrolment.enrol(connection, self.authority, request, ACTOR, self.clock.wall_us())


@pytest.fixture
def desk(database: Database, authority: Authority, clock: FixedClock) -> Desk:
    """A desk at a hub without gateways."""
    return Desk(database, authority, clock)


@pytest.mark.parametrize("key", [ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())])
def test_a_gateway_that_proves_its_key_is_enrolled(desk: Desk, key: PrivateKey) -> None:
    """
    The certificate is for the name and key of the request, from this authority, and the hub knows key and place.
    """
    _, csr = request_for("press-1", key)

    done = desk.enrol(csr)

    certificate = x509.load_pem_x509_certificate(done.certificate)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(desk.authority.roots_pem))
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "press-1"
    with desk.database.reading() as connection:
        row = connection.execute(select(gateways)).one()
        sender = fleet.senders(connection, ["press-1"])["press-1"]
    assert (row.id, row.site, row.line, row.timezone, row.labels) == (
        "press-1",
        "berlin",
        "press",
        "Europe/Berlin",
        {"a": "b"},
    )
    assert list(sender.keys.values()) == [key.public_key()]


def bad_requests() -> dict[str, bytes]:
    """Requests that must not be signed."""
    key, good = request_for("press-1")
    der = bytearray(x509.load_pem_x509_csr(good).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "press-1")])
    two = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a"), x509.NameAttribute(NameOID.COMMON_NAME, "b")])
    builder = x509.CertificateSigningRequestBuilder()
    pem = serialization.Encoding.PEM
    return {
        "not a request": b"hello",
        "cut": good[: len(good) // 2],
        "too long": good + b"\n" * 20_000,
        "not its own signature": x509.load_der_x509_csr(bytes(der)).public_bytes(pem),
        "another kind of key": builder.subject_name(name).sign(rsa_key, hashes.SHA256()).public_bytes(pem),
        "another curve": request_for("press-1", ec.generate_private_key(ec.SECP384R1()))[1],
        "a name with a slash": request_for("press/1")[1],
        "capitals": request_for("Press-1")[1],
        "the hub's own name": request_for("_hub")[1],
        "too long a name": request_for("a" * 41)[1],
        "a wildcard": request_for("+")[1],
        "two names": builder.subject_name(two).sign(key, None).public_bytes(pem),
    }


@pytest.mark.parametrize("csr", bad_requests().values(), ids=bad_requests().keys())
def test_a_request_that_proves_nothing_is_refused(desk: Desk, csr: bytes) -> None:
    """
    Without the key's own signature, a fit key and a gateway id there is no certificate, and nothing is remembered.
    """
    with pytest.raises(EnrolmentError) as caught:
        desk.enrol(csr)

    assert caught.value.hint
    with desk.database.reading() as connection:
        assert connection.execute(select(gateways)).all() == []


def test_a_known_gateway_is_replaced_only_when_asked(desk: Desk) -> None:
    """
    A second request under a known name is refused; with `replace` the old key counts no more.
    """
    desk.enrol(request_for("press-1")[1])
    new_key, again = request_for("press-1")

    with pytest.raises(EnrolmentError, match="enrolled already"):
        desk.enrol(again)
    done = desk.enrol(again, replace=True)

    with desk.database.reading() as connection:
        sender = fleet.senders(connection, ["press-1"])["press-1"]
        serials = enrolment.revoked_serials(connection)
        keys = connection.execute(select(gateway_keys.c.key_id)).all()
    assert done.replaced == 1
    assert list(sender.keys.values()) == [new_key.public_key()]
    assert (len(keys), len(serials)) == (2, 1)


def test_a_key_belongs_to_one_gateway(desk: Desk) -> None:
    """
    A key that is another gateway's is refused: a card was copied.
    """
    key, csr = request_for("press-1")
    desk.enrol(csr)

    with pytest.raises(EnrolmentError, match="press-1"):
        desk.enrol(request_for("press-2", key)[1])


def test_a_time_zone_that_does_not_exist_is_refused(desk: Desk) -> None:
    """
    A place's time zone is an IANA name.
    """
    with pytest.raises(EnrolmentError, match="Mars"):
        desk.enrol(request_for("press-1")[1], Place(timezone="Mars/Olympus"))


def test_every_enrolment_stands_in_the_audit_chain(desk: Desk) -> None:
    """
    Who enrolled what, why and in whose place is a row of the chain, in the same transaction.
    """
    desk.enrol(request_for("press-1")[1])
    desk.enrol(request_for("press-1")[1], replace=True)

    with desk.database.reading() as connection:
        rows = connection.execute(select(audit_table).order_by(audit_table.c.id)).all()
        assert audit.broken_at(connection) is None
    assert [(row.action, row.subject, row.actor, row.reason) for row in rows] == [
        ("gateway enrolled", "press-1", "somebody", "a test"),
        ("gateway replaced", "press-1", "somebody", "a test"),
    ]


def test_a_revoked_certificate_is_on_the_list(desk: Desk) -> None:
    """
    The list of revocations is the authority's and names the certificate whose key was replaced.
    """
    first = x509.load_pem_x509_certificate(desk.enrol(request_for("press-1")[1]).certificate)
    desk.enrol(request_for("press-1")[1], replace=True)

    with desk.database.reading() as connection:
        serials = enrolment.revoked_serials(connection)
    listed = x509.load_pem_x509_crl(desk.authority.revocations(serials, desk.clock.wall_us()))

    assert [one.serial_number for one in listed] == [first.serial_number]
    root = x509.load_pem_x509_certificate(desk.authority.roots_pem).public_key()
    assert listed.is_signature_valid(root)  # type: ignore[arg-type]
