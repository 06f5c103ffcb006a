"""The bundles a hub knows: each file by digest in the object store, name, version and digests in the database.

A release never changes: the same name and version with another digest is refused. Only what a publisher has signed
can be rolled out; what was put here by hand gives its drift reference and waits for a signature.
"""

from pathlib import Path
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, case, select, update

from cloud_hub.access import audit
from cloud_hub.access.audit import Actor, Entry
from cloud_hub.errors import CatalogueError
from cloud_hub.storage.database import insert_rows
from cloud_hub.storage.objects import Objects
from cloud_hub.storage.schema import bundle_files, bundles, publishers, references
from edge_protocol import agreement, bundle, counters
from edge_protocol.bundle import File, Manifest
from edge_protocol.errors import DecodeError, ManifestError


class Release(msgspec.Struct, frozen=True):
    """A bundle in the catalogue. `reference` names the counters of good parts, `card` the model card's object.

    `publisher` has signed it, with this `floor`; empty if nobody whose key still holds has. `length` is its manifest's.
    """

    name: str
    version: str
    digest: str
    task: str
    reference: str
    card: str
    added_us: int
    actor: str
    publisher: str = ""
    floor: str = ""
    length: int = 0


class Content(NamedTuple):
    """What the catalogue has to know of a bundle: its manifest, as bytes too, and its drift reference."""

    manifest: Manifest
    raw: bytes
    reference: counters.Reference | None

    @property
    def digest(self) -> str:
        """The bundle's digest."""
        return bundle.digest(self.raw)


def add(connection: Connection, objects: Objects, folder: Path, actor: Actor, now_us: int) -> Release:
    """Take the bundle in a folder into the catalogue, in the transaction of `connection`.

    Raises:
        CatalogueError: not a bundle, or a version that is there with another digest.
    """
    try:
        manifest, _ = bundle.load(folder)
        content = Content(manifest, (folder / bundle.MANIFEST).read_bytes(), _reference(manifest, folder))
    except (ManifestError, DecodeError) as error:
        raise CatalogueError(str(error), error.hint or "make the bundle again by its recipe") from error
    known = check_same(connection, content, actor.tenant)
    for name in (bundle.MANIFEST, *manifest.files):
        objects.put((folder / name).read_bytes())
    if known is not None:
        return known
    entry = Entry("bundle added", f"{manifest.name} {manifest.version}", detail={"digest": content.digest})
    audit.append(connection, actor, entry, now_us)
    return keep(connection, content, actor, now_us)


def check_same(connection: Connection, content: Content, tenant: str) -> Release | None:
    """The release of this name and version that is here already, if any.

    Raises:
        CatalogueError: it has another digest.
    """
    manifest = content.manifest
    known = find(connection, manifest.name, manifest.version, tenant)
    if known is not None and known.digest != content.digest:
        message = (
            f"{manifest.name} {manifest.version} is in the catalogue as {known.digest[:12]}, "
            f"this is {content.digest[:12]}"
        )
        raise CatalogueError(message, "a release does not change: give the new one another version")
    return known


def keep(
    connection: Connection, content: Content, actor: Actor, now_us: int, *, publisher: str = "", floor: str = ""
) -> Release:
    """Write the rows of a release; those of one that is here get the publisher and the higher floor."""
    manifest, reference, tenant = content.manifest, content.reference, actor.tenant
    known = check_same(connection, content, tenant)
    files = {bundle.MANIFEST: File(content.digest, len(content.raw)), **manifest.files}
    rows = [(content.digest, name, tenant, file.sha256, file.length) for name, file in files.items()]
    insert_rows(connection, bundle_files, ("bundle", "name", "tenant", "sha256", "length"), rows, past_known=True)
    if known is not None:
        signed = {"publisher": publisher, "floor": agreement.highest(known.floor, floor), "length": len(content.raw)}
        connection.execute(update(bundles).where(bundles.c.digest == content.digest).values(**signed))
        return msgspec.structs.replace(known, **signed)
    release = Release(
        manifest.name, manifest.version, content.digest, manifest.task,
        "" if reference is None else reference.digest, manifest.files[manifest.card].sha256 if manifest.card else "",
        now_us, actor.name, publisher, floor, len(content.raw),
    )  # fmt: skip
    values = {**msgspec.structs.asdict(release), "tenant": tenant}
    insert_rows(connection, bundles, tuple(values), [tuple(values.values())])
    if reference is not None:
        row = (reference.digest, tenant, reference.canonical())
        insert_rows(connection, references, ("digest", "tenant", "body"), [row], past_known=True)
    return release


def manifest(objects: Objects, release: Release) -> Manifest:
    """The manifest of a release.

    Raises:
        StorageError: the object store has lost or changed it.
        CatalogueError: it is not one that this version reads.
    """
    try:
        return bundle.parse(objects.get(release.digest))
    except ManifestError as error:
        raise CatalogueError(str(error), error.hint) from error


def find(connection: Connection, name: str, version: str, tenant: str = "default") -> Release | None:
    """The release of this name and version."""
    query = _RELEASES.where(bundles.c.tenant == tenant, bundles.c.name == name, bundles.c.version == version)
    row = connection.execute(query).one_or_none()
    return None if row is None else Release(*row)


def by_digest(connection: Connection, digest: str) -> Release | None:
    """The release whose manifest has this digest."""
    row = connection.execute(_RELEASES.where(bundles.c.digest == digest)).one_or_none()
    return None if row is None else Release(*row)


def floors(connection: Connection, tenant: str = "default") -> dict[str, str]:
    """Per bundle name the highest floor that a publisher has ever stated; one that was revoked counts too."""
    found: dict[str, str] = {}
    query = select(bundles.c.name, bundles.c.floor).where(bundles.c.tenant == tenant, bundles.c.floor != "")
    for name, floor in connection.execute(query):
        found[name] = agreement.highest(found.get(name, ""), floor)
    return found


def releases(connection: Connection) -> list[Release]:
    """All bundles, by name and time."""
    query = _RELEASES.order_by(bundles.c.name, bundles.c.added_us, bundles.c.version)
    return [Release(*row) for row in connection.execute(query)]


_HOLDS = case((publishers.c.revoked_us.is_(None), bundles.c.publisher), else_="")
_COLUMNS = {**{name: bundles.c[name] for name in Release.__struct_fields__}, "publisher": _HOLDS}
_RELEASES = select(*_COLUMNS.values()).select_from(
    bundles.outerjoin(publishers, publishers.c.name == bundles.c.publisher)
)


def _reference(manifest: Manifest, folder: Path) -> counters.Reference | None:
    if not manifest.reference:
        return None
    return counters.load_reference((folder / manifest.reference).read_bytes())
