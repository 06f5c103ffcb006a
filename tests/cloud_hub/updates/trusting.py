"""A hub with keys of its own making: real Ed25519, real rows, real objects; and python-tuf as a gateway runs it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519
from sqlalchemy import Connection, func, select
from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import TargetFile
from tuf.ngclient import FetcherInterface, Updater

from cloud_hub.access import enrolment
from cloud_hub.access.audit import Actor
from cloud_hub.access.authority import Authority
from cloud_hub.clock import FixedClock
from cloud_hub.storage import schema
from cloud_hub.storage.database import Database
from cloud_hub.storage.objects import Objects
from cloud_hub.updates import ceremony, releases, repository, signing
from cloud_hub.updates.offline import Offline
from cloud_hub.updates.releases import Accepted
from cloud_hub.updates.repository import MODELS, PUBLISHER_DAYS, Repository, after
from cloud_hub.updates.signing import Delegation, Listing, Stamp
from edge_protocol import agreement, bundle
from edge_protocol.agreement import Published, Target
from edge_protocol.envelope import PrivateKey
from edge_protocol.messages import Place
from tests.cloud_hub.updates.test_catalogue import write_bundle
from tests.simulators import request_for

ACTOR = Actor("somebody", "a test")


def new_key() -> PrivateKey:
    """A key of a person."""
    return ed25519.Ed25519PrivateKey.generate()


def target_of(raw: bytes, *, floor: str = "", path: str = "") -> Target:
    """What a publisher says of the manifest `raw`."""
    manifest = bundle.parse(raw)
    path = path or agreement.path_of(manifest.name, manifest.version)
    custom = {"kind": Published().kind, "floor": floor}
    return Target(path, bundle.digest(raw), len(raw), custom)


@dataclass
class TrustedHub:
    """A hub whose keys are made, with publisher `alice` for `engine-*`."""

    database: Database
    objects: Objects
    clock: FixedClock
    folder: Path
    offline: Offline = field(default_factory=lambda: Offline((new_key(), new_key(), new_key()), new_key()))
    online: PrivateKey = field(default_factory=new_key)
    alice: PrivateKey = field(default_factory=new_key)

    def begin(self) -> None:
        """Make the first roots and delegate to alice."""
        with self.database.writing() as connection:
            ceremony.begin(connection, self.offline, self.online, ACTOR, self.clock.wall_us())
        self.delegate("alice", self.alice, "engine-*")

    def delegate(self, name: str, key: PrivateKey, *patterns: str) -> None:
        """Let somebody sign for some names."""
        publisher = Delegation(name, key.public_key(), patterns)
        with self.database.writing() as connection:
            ceremony.delegate(
                connection, publisher, self.offline.targets, self.online, actor=ACTOR, now_us=self.clock.wall_us()
            )

    def revoke(self, name: str) -> None:
        """Let somebody sign nothing any more."""
        with self.database.writing() as connection:
            ceremony.revoke(
                connection, name, self.offline.targets, self.online, actor=ACTOR, now_us=self.clock.wall_us()
            )

    def rotate(self) -> None:
        """Replace the online key."""
        self.online = new_key()
        with self.database.writing() as connection:
            ceremony.rotate(
                connection, self.offline.roots[:2], self.online, targets=self.offline.targets, actor=ACTOR,
                now_us=self.clock.wall_us(),
            )  # fmt: skip

    def enrol(self, name: str, authority: Authority) -> None:
        """Enrol a gateway."""
        with self.database.writing() as connection:
            request = enrolment.read_request(request_for(name)[1], Place())
            enrolment.enrol(connection, authority, request, ACTOR, self.clock.wall_us())

    def store(self, version: str = "1.0.0", **changed: float) -> bytes:
        """Put a bundle's files into the object store; answers with its manifest."""
        folder = self.folder / f"bundle-{version}-{len(changed)}"
        raw = write_bundle(folder, version, **changed)
        for path in folder.iterdir():
            self.objects.put(path.read_bytes())
        return raw

    def sign(self, *targets: Target, version: int, key: PrivateKey | None = None, days: int = PUBLISHER_DAYS) -> bytes:
        """Metadata of alice."""
        stamp = Stamp(version, after(self.clock.wall_us(), days))
        return signing.make_listing(Listing(stamp, targets), "", key or self.alice)

    def accept(self, raw: bytes, name: str = "alice") -> Accepted:
        """Hand in a publisher's metadata."""
        with self.database.writing() as connection:
            return releases.accept(
                connection, self.objects, self.online, name, raw, actor=ACTOR, now_us=self.clock.wall_us()
            )

    def publish(self, *versions: str, floor: str = "") -> Accepted:
        """Publish these versions, all that alice has, the floor with the last."""
        made = [target_of(self.store(version), floor=floor if version == versions[-1] else "") for version in versions]
        with self.database.reading() as connection:
            version = repository.version_of(connection, MODELS, "pub-alice") + 1
            before = repository.latest(connection, MODELS, "pub-alice")
        known = () if before is None else signing.open_listing(before).targets
        return self.accept(self.sign(*known, *made, version=version))

    def files(self, where: Repository = MODELS) -> dict[str, bytes]:
        """The set of a repository."""
        with self.database.reading() as connection:
            return repository.files(connection, where)


class _Dictionary(FetcherInterface):
    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def _fetch(self, url: str) -> list[bytes]:
        name = url.rpartition("/")[2]
        if name not in self._files:
            raise DownloadHTTPError(name, 404)
        return [self._files[name]]


def ask(
    folder: Path, files: Mapping[str, bytes], path: str, now_us: int, root: bytes | None = None
) -> TargetFile | None:
    """What python-tuf's own updater says of a target, in a folder that keeps what it has seen."""
    folder.mkdir(exist_ok=True)
    first = root or files["1.root.json"]
    updater = Updater(str(folder), "set:/", fetcher=_Dictionary(files), bootstrap=first)
    updater._trusted_set.reference_time = datetime.fromtimestamp(now_us / 1e6, UTC)
    updater.refresh()
    return updater.get_targetinfo(path)


def rows_of(connection: Connection) -> dict[str, int]:
    """How many rows each table of releases has."""
    tables = (schema.bundles, schema.bundle_files, schema.references, schema.trust_files, schema.audit)
    return {table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables}
