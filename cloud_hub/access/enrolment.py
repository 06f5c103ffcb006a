"""Enrolment: a certificate request comes in, a certificate goes out, and the hub knows the gateway's key and place.

The request proves that the gateway holds the key; that it is the right gateway is what the person vouches for.
"""

import zoneinfo
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
from sqlalchemy import Connection, select, update

from cloud_hub.access import audit, keys
from cloud_hub.access.authority import Authority
from cloud_hub.errors import EnrolmentError
from cloud_hub.storage.database import put
from cloud_hub.storage.schema import gateway_keys, gateways
from edge_protocol import envelope, topics
from edge_protocol.messages import Place

MAX_REQUEST_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """A verified request: who asks, the key that was proven, and where the gateway is to stand.

    `replace` revokes the keys that a known gateway had before.
    """

    gateway: str
    key: envelope.PublicKey
    place: Place
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What an enrolment came to."""

    gateway: str
    key_id: str
    certificate: bytes
    replaced: int


def read_request(pem: bytes, place: Place, *, replace: bool = False) -> Request:
    """The request in a PEM, verified in itself, for a gateway at `place`.

    Raises:
        EnrolmentError: not a request, not signed with its own key, a key or a name that is not allowed.
    """
    hint = "make one on the gateway: edge-agent identity new"
    try:
        if len(pem) > MAX_REQUEST_BYTES:
            message = f"{len(pem)} bytes are too many for a certificate request"
            raise EnrolmentError(message, hint)
        request = x509.load_pem_x509_csr(pem)
        key = request.public_key()
        proven = request.is_signature_valid
    except (ValueError, TypeError, x509.InvalidVersion) as error:
        message = f"not a certificate request: {error}"
        raise EnrolmentError(message, hint) from error
    if not proven:
        message = "the request is not signed with the key it names"
        raise EnrolmentError(message, hint)
    p256 = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    if not isinstance(key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey) or not (
        p256 or isinstance(key, ed25519.Ed25519PublicKey)
    ):
        message = "the request's key is neither Ed25519 nor ECDSA P-256"
        raise EnrolmentError(message, hint)
    return Request(_common_name(request), key, place, replace)


def enrol(connection: Connection, authority: Authority, request: Request, actor: audit.Actor, now_us: int) -> Enrolled:
    """Sign the request and keep the gateway's key and place, in the transaction of `connection`.

    Raises:
        EnrolmentError: the gateway is known already, the key is another gateway's, or the time zone does not exist.
    """
    _check(connection, request)
    place = request.place
    key_id = envelope.key_id(request.key).hex()
    certificate = authority.sign(request.gateway, request.key, now_us)
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    revoked = connection.execute(
        update(gateway_keys)
        .where(gateway_keys.c.gateway == request.gateway, gateway_keys.c.revoked_us.is_(None))
        .values(revoked_us=now_us)
    ).rowcount
    where = {name: getattr(place, name) for name in place.__struct_fields__}
    put(connection, gateways, {"id": request.gateway, "enrolled_us": now_us, **where})
    serial = format(certificate.serial_number, "x")
    row = {
        "gateway": request.gateway, "key_id": key_id, "tenant": place.tenant, "alg": keys.algorithm(request.key),
        "pem": keys.public_pem(request.key), "serial": serial,
        "certificate": pem.decode(), "enrolled_us": now_us, "revoked_us": None,
    }  # fmt: skip
    put(connection, gateway_keys, row)
    detail = {
        "key_id": key_id,
        "serial": serial,
        "revoked": str(revoked),
        "site": place.site,
        "line": place.line,
    }
    action = "gateway replaced" if revoked else "gateway enrolled"
    entry = audit.Entry(action, request.gateway, request.gateway, detail)
    audit.append(connection, actor, entry, now_us)
    return Enrolled(request.gateway, key_id, pem, revoked)


def revoked_serials(connection: Connection) -> list[int]:
    """The serial numbers of all certificates whose key was revoked."""
    query = select(gateway_keys.c.serial).where(gateway_keys.c.revoked_us.is_not(None))
    return [int(serial, 16) for serial in connection.execute(query).scalars()]


def _check(connection: Connection, request: Request) -> None:
    known = connection.execute(select(gateways.c.id).where(gateways.c.id == request.gateway)).one_or_none()
    if known is not None and not request.replace:
        message = f"{request.gateway} is enrolled already"
        raise EnrolmentError(message, "give the new gateway another id, or use --replace to revoke the old key")
    key_id = envelope.key_id(request.key).hex()
    query = select(gateway_keys.c.gateway).where(
        gateway_keys.c.key_id == key_id, gateway_keys.c.gateway != request.gateway
    )
    if other := connection.execute(query).scalars().first():
        message = f"this key is the one of {other}"
        raise EnrolmentError(message, "a key belongs to one gateway: make a new one with edge-agent identity new")
    if request.place.timezone not in zoneinfo.available_timezones():
        message = f"{request.place.timezone!r} is not a time zone"
        raise EnrolmentError(message, "use its IANA name, as Europe/Berlin")


def _common_name(request: x509.CertificateSigningRequest) -> str:
    names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = str(names[0].value) if len(names) == 1 else ""
    if not topics.is_gateway_id(name):
        message = f"the request's common name {name[:60]!r} is not a gateway id"
        raise EnrolmentError(message, "a gateway id is 1 to 40 of a-z, 0-9 and hyphen")
    return name
