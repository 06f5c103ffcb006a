"""The bundles a hub knows: each file by digest in the object store, name, version and digests in the database.

A release never changes: the same name and version with another digest is refused. Adding the same bundle again puts
back what the store may have lost.
"""

from pathlib import Path

import msgspec
from sqlalchemy import Connection, select

from cloud_hub.access import audit
from cloud_hub.access.audit import Actor, Entry
from cloud_hub.errors import CatalogueError
from cloud_hub.storage.database import insert_rows
from cloud_hub.storage.objects import Objects
from cloud_hub.storage.schema import bundles, references
from edge_protocol import bundle, counters
from edge_protocol.bundle import Manifest
from edge_protocol.errors import DecodeError, ManifestError


class Release(msgspec.Struct, frozen=True):
    """A bundle in the catalogue. `reference` names the counters of good parts, `card` the model card's object."""

    name: str
    version: str
    digest: str
    task: str
    reference: str
    card: str
    added_us: int
    actor: str


def add(connection: Connection, objects: Objects, folder: Path, actor: Actor, now_us: int) -> Release:
    """Take the bundle in a folder into the catalogue, in the transaction of `connection`.

    Raises:
        CatalogueError: not a bundle, or a version that is there with another digest.
    """
    try:
        manifest, digest = bundle.load(folder)
        reference = _reference(manifest, folder)
    except (ManifestError, DecodeError) as error:
        raise CatalogueError(str(error), error.hint or "make the bundle again by its recipe") from error
    known = _find(connection, actor.tenant, manifest)
    if known is not None and known.digest != digest:
        message = (
            f"{manifest.name} {manifest.version} is in the catalogue as {known.digest[:12]}, this is {digest[:12]}"
        )
        raise CatalogueError(message, "a release does not change: give the new one another version")
    for name in (bundle.MANIFEST, *manifest.files):
        objects.put((folder / name).read_bytes())
    if known is not None:
        return known
    card = manifest.files[manifest.card].sha256 if manifest.card else ""
    release = Release(
        manifest.name, manifest.version, digest, manifest.task, "" if reference is None else reference.digest, card,
        now_us, actor.name,
    )  # fmt: skip
    values = {**msgspec.structs.asdict(release), "tenant": actor.tenant}
    insert_rows(connection, bundles, tuple(values), [tuple(values.values())])
    if reference is not None:
        row = (reference.digest, actor.tenant, reference.canonical())
        insert_rows(connection, references, ("digest", "tenant", "body"), [row], past_known=True)
    entry = Entry("bundle added", f"{manifest.name} {manifest.version}", detail={"digest": digest})
    audit.append(connection, actor, entry, now_us)
    return release


def releases(connection: Connection) -> list[Release]:
    """All bundles, by name and time."""
    query = _RELEASES.order_by(bundles.c.name, bundles.c.added_us, bundles.c.version)
    return [Release(*row) for row in connection.execute(query)]


_RELEASES = select(*(bundles.c[name] for name in Release.__struct_fields__))


def _find(connection: Connection, tenant: str, manifest: Manifest) -> Release | None:
    query = _RELEASES.where(
        bundles.c.tenant == tenant, bundles.c.name == manifest.name, bundles.c.version == manifest.version
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else Release(*row)


def _reference(manifest: Manifest, folder: Path) -> counters.Reference | None:
    if not manifest.reference:
        return None
    return counters.load_reference((folder / manifest.reference).read_bytes())
