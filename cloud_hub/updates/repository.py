"""The rows behind a TUF repository: signed files by role and version, and the two roles that the hub signs for all.

Every change is one transaction of the caller; `seal` ends it. Of each role but the root only the newest version stays,
for a gateway that comes late takes the whole set.
"""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, func, select, text

from cloud_hub.errors import TrustError
from cloud_hub.storage.database import insert_rows
from cloud_hub.storage.schema import trust_files
from cloud_hub.updates import signing
from cloud_hub.updates.signing import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Stamp
from edge_protocol import metadata
from edge_protocol.envelope import PrivateKey

DAY_US = 86_400 * 1_000_000
OFF = "updates are off: this hub has no keys for them"
OFF_HINT = "make them: cloud-hub keys init --out OFFLINE_DIR"

ROOT_DAYS, TARGETS_DAYS, PUBLISHER_DAYS = 365, 365, 180
ONLINE_DAYS = {TARGETS: 30, SNAPSHOT: 30, TIMESTAMP: 7}
"""What the hub's online key signs is renewed long before: a thief's copy of it ends soon."""


class Repository(NamedTuple):
    """Which repository: `models`, or the director of one gateway."""

    name: str
    gateway: str = ""

    def mark(self, role: str) -> str:
        """What the signed part of a role says about where it belongs."""
        return metadata.mark(self.name, role, self.gateway)


MODELS = Repository(metadata.MODELS)
DIRECTORS = Repository(metadata.DIRECTOR)
"""The root that the directors of all gateways share."""


def director_of(gateway: str) -> Repository:
    """The repository of one gateway."""
    return Repository(metadata.DIRECTOR, gateway)


def after(now_us: int, days: int) -> int:
    """The time when metadata signed now expires."""
    return now_us + days * DAY_US


def lock(connection: Connection) -> None:
    """Let nobody else sign until this transaction ends: versions follow each other.

    The audit chain first, for whoever decides before signing has it already: two who wait for each other wait for ever.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE audit, trust_files IN SHARE ROW EXCLUSIVE MODE"))


def latest(connection: Connection, repository: Repository, role: str) -> bytes | None:
    """The newest metadata of a role."""
    query = select(trust_files.c.body).where(*_where(repository), trust_files.c.role == role)
    found = connection.execute(query.order_by(trust_files.c.version.desc()).limit(1)).scalar_one_or_none()
    return None if found is None else bytes(found)


def need(connection: Connection, repository: Repository, role: str) -> bytes:
    """The newest metadata of a role that is there once updates are on.

    Raises:
        TrustError: updates are off.
    """
    raw = latest(connection, repository, role)
    if raw is None:
        raise TrustError(OFF, OFF_HINT)
    return raw


def version_of(connection: Connection, repository: Repository, role: str) -> int:
    """The newest version of a role; 0 when there is none."""
    query = select(func.max(trust_files.c.version)).where(*_where(repository), trust_files.c.role == role)
    return connection.execute(query).scalar_one_or_none() or 0


def put(connection: Connection, repository: Repository, role: str, raw: bytes, now_us: int) -> None:
    """Keep metadata that was signed; the versions of its role before it go, those of the root stay."""
    stamp = signing.open_stamp(raw)
    columns = ("repository", "gateway", "role", "version", "at_us", "expires_us", "body")
    row = (*repository, role, stamp.version, now_us, stamp.expires_us, raw)
    insert_rows(connection, trust_files, columns, [row])
    if role != ROOT:
        older = (trust_files.c.role == role, trust_files.c.version < stamp.version)
        connection.execute(delete(trust_files).where(*_where(repository), *older))


def seal(connection: Connection, repository: Repository, signer: PrivateKey, now_us: int) -> None:
    """Sign a new snapshot of what is there, and a timestamp of it."""
    stamp = Stamp(version_of(connection, repository, SNAPSHOT) + 1, after(now_us, ONLINE_DAYS[SNAPSHOT]))
    raw = signing.make_snapshot(_listings(connection, repository), stamp, repository.mark(SNAPSHOT), signer)
    put(connection, repository, SNAPSHOT, raw, now_us)
    stamp_time(connection, repository, signer, now_us)


def stamp_time(connection: Connection, repository: Repository, signer: PrivateKey, now_us: int) -> None:
    """Sign a new timestamp of the snapshot that is there."""
    snapshot = need(connection, repository, SNAPSHOT)
    stamp = Stamp(version_of(connection, repository, TIMESTAMP) + 1, after(now_us, ONLINE_DAYS[TIMESTAMP]))
    raw = signing.make_timestamp(snapshot, stamp, repository.mark(TIMESTAMP), signer)
    put(connection, repository, TIMESTAMP, raw, now_us)


def files(connection: Connection, repository: Repository) -> dict[str, bytes]:
    """The whole set by file name, as it is carried; empty when this repository has no timestamp yet."""
    found: dict[str, bytes] = {}
    for row in connection.execute(select(trust_files).where(*_where(repository))):
        found[f"{row.role}.json" if row.role == TIMESTAMP else f"{row.version}.{row.role}.json"] = bytes(row.body)
    if f"{TIMESTAMP}.json" not in found:
        return {}
    return found | roots(connection, repository)


def roots(connection: Connection, repository: Repository) -> dict[str, bytes]:
    """All roots of a repository by file name."""
    query = select(trust_files.c.version, trust_files.c.body).where(
        *_where(Repository(repository.name)), trust_files.c.role == ROOT
    )
    return {f"{version}.{ROOT}.json": bytes(body) for version, body in connection.execute(query)}


def _listings(connection: Connection, repository: Repository) -> Mapping[str, bytes]:
    others = (ROOT, SNAPSHOT, TIMESTAMP)
    query = select(trust_files.c.role, trust_files.c.body).where(*_where(repository), trust_files.c.role.not_in(others))
    return {role: bytes(body) for role, body in connection.execute(query)}


def _where(repository: Repository) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return trust_files.c.repository == repository.name, trust_files.c.gateway == repository.gateway
