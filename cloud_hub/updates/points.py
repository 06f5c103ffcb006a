"""Operating points at the hub: what publishers have signed is kept, and named to pipelines by their directors.

Gateways verify both for themselves. Nothing is rolled out in waves: it is a threshold, no model is loaded for it, and
what is named no more gives way to the bundle's own at once.
"""

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Connection, delete, select

from cloud_hub.access import audit
from cloud_hub.access.audit import Actor, Entry
from cloud_hub.errors import CatalogueError
from cloud_hub.storage.database import insert_rows, put
from cloud_hub.storage.objects import Objects
from cloud_hub.storage.schema import bundle_files, operating_points, point_assignments, publishers
from cloud_hub.updates import catalogue, director
from cloud_hub.updates.rollouts import selection
from cloud_hub.updates.rollouts.plan import Selection
from edge_protocol import points
from edge_protocol.agreement import Published, Target
from edge_protocol.envelope import PrivateKey
from edge_protocol.errors import DecodeError
from edge_protocol.points import MAX_POINT_BYTES, Point

_AGAIN = "publish it again: cloud-hub operating-point publish"


class PointRelease(msgspec.Struct, frozen=True):
    """An operating point that was published, for the release of `digest`; `sha256` is that of its file."""

    sha256: str
    bundle: str
    digest: str
    name: str
    version: str
    publisher: str
    actor: str
    length: int
    added_us: int

    @property
    def path(self) -> str:
        """Its target's path."""
        return points.path_of(self.bundle, self.name, self.version)


class PointAssignment(msgspec.Struct, frozen=True):
    """Which point a pipeline should judge by, and the digest of the one it says it does; empty: its bundle's own."""

    gateway: str
    pipeline: str
    bundle: str
    name: str
    version: str
    sha256: str
    at_us: int
    judges_by: str = ""


_COLUMNS = tuple(operating_points.c[name] for name in PointRelease.__struct_fields__)


def is_point(target: Target) -> bool:
    """Whether a publisher's target says that it is an operating point."""
    return target.custom.get("kind") == points.KIND


def check(target: Target) -> str:
    """The bundle name that a publisher's target is for.

    Raises:
        CatalogueError: it is not understood.
        UpdateRefused: its path is not that of an operating point.
    """
    bundle, _, _ = points.named(target.path)
    said = msgspec.convert(target.custom, Published) if is_point(target) else None
    if said is None or said.floor or not 0 < target.length <= MAX_POINT_BYTES or len(target.sha256) != 64:
        message = f"what is said of {target.path} is not understood"
        raise CatalogueError(message, _AGAIN)
    return bundle


def keep(
    connection: Connection, objects: Objects, publisher: str, target: Target, *, actor: Actor, now_us: int
) -> PointRelease:
    """Take a published operating point; its file must lie in the object store.

    Raises:
        CatalogueError: it is not there, not one, or made for a release that is not.
    """
    if objects.length(target.sha256) != target.length:
        message = f"{target.path} ({target.sha256[:12]}) is not in the object store"
        raise CatalogueError(message, _AGAIN)
    try:
        point = points.parse(objects.get(target.sha256))
    except DecodeError as error:
        raise CatalogueError(str(error), _AGAIN) from error
    if points.path_of(point.bundle, point.name, point.version) != target.path:
        message = f"{target.path} names {point.name} {point.version} of {point.bundle}"
        raise CatalogueError(message, _AGAIN)
    _check_release(connection, objects, point)
    row = PointRelease(
        target.sha256, point.bundle, point.digest, point.name, point.version, publisher, actor.name, target.length,
        now_us,
    )  # fmt: skip
    values = msgspec.structs.asdict(row) | {"tenant": actor.tenant}
    insert_rows(connection, operating_points, tuple(values), [tuple(values.values())])
    file = (point.digest, target.path, actor.tenant, target.sha256, target.length)
    insert_rows(connection, bundle_files, ("bundle", "name", "tenant", "sha256", "length"), [file], past_known=True)
    detail = {"sha256": row.sha256, "digest": row.digest, "publisher": publisher}
    entry = Entry("operating point published", f"{row.bundle} {row.name} {row.version}", detail=detail)
    audit.append(connection, actor, entry, now_us)
    return row


def releases(connection: Connection) -> list[PointRelease]:
    """All that were published, by bundle, name and time."""
    table = operating_points.c
    rows = connection.execute(select(*_COLUMNS).order_by(table.bundle, table.name, table.added_us))
    return [PointRelease(*row) for row in rows]


def find(connection: Connection, bundle: str, name: str, version: str, tenant: str = "default") -> PointRelease:
    """The one that was published so.

    Raises:
        CatalogueError: there is none, or nobody whose key holds has signed it.
    """
    table = operating_points.c
    query = select(*_COLUMNS).where(
        table.tenant == tenant, table.bundle == bundle, table.name == name, table.version == version
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        message = f"no operating point {name} {version} of {bundle} was published here"
        raise CatalogueError(message, "cloud-hub operating-point show lists them")
    found = PointRelease(*row)
    revoked = select(publishers.c.revoked_us).where(publishers.c.name == found.publisher)
    if connection.execute(revoked).scalar_one_or_none() is not None:
        message = f"the key of {found.publisher}, who has signed {name} {version}, was revoked"
        raise CatalogueError(message, "have it published by a key that holds")
    return found


def selected(connection: Connection, chosen: Selection, tenant: str, digest: str = "") -> list[tuple[str, str]]:
    """The pipelines that are meant, as (gateway, pipeline): of those that run the release `digest`, if one is given.

    Raises:
        CatalogueError: a gateway is not enrolled, or nothing is meant.
    """
    if unknown := selection.unknown_names(connection, chosen, tenant):
        message = f"{', '.join(unknown)} is not enrolled here"
        raise CatalogueError(message, "cloud-hub fleet lists the gateways")
    found = [
        (gateway, pipeline.name)
        for gateway, state in selection.states_of(connection, chosen, tenant)
        for pipeline in state.pipelines
        if pipeline.name in (chosen.pipelines or (pipeline.name,)) and (not digest or pipeline.digest == digest)
    ]
    if not found:
        what = f" that runs {digest[:12]}" if digest else ""
        message = f"no pipeline{what} is meant"
        raise CatalogueError(message, "cloud-hub fleet says what runs where; an operating point is for one release")
    return found


def assign(
    connection: Connection, signer: PrivateKey, wanted: Sequence[tuple[str, str]], point: PointRelease | None, *,
    actor: Actor, now_us: int,
) -> None:  # fmt: skip
    """Have these pipelines judge by `point`, None: by their bundles' own. Rows and signatures are of the caller's.

    Raises:
        TrustError: updates are off, or a gateway is not enrolled.
    """
    table = point_assignments
    named: dict[str, list[str]] = {}
    for gateway, pipeline in wanted:
        named.setdefault(gateway, []).append(pipeline)
    for gateway, pipelines in named.items():
        director.found(connection, signer, gateway, now_us)
        connection.execute(delete(table).where(table.c.gateway == gateway, table.c.pipeline.in_(pipelines)))
        if point is not None:
            row = {"gateway": gateway, "tenant": actor.tenant, "sha256": point.sha256, "at_us": now_us}
            put(connection, table, *({**row, "pipeline": pipeline} for pipeline in pipelines))
        director.sign(connection, signer, gateway, now_us)
        what = f"{point.bundle} {point.name} {point.version} {point.sha256[:12]}" if point is not None else "-"
        entry = Entry("operating point assigned", gateway, gateway, dict.fromkeys(pipelines, what))
        audit.append(connection, actor, entry, now_us)


def assignments(connection: Connection, tenant: str = "default") -> list[PointAssignment]:
    """What each pipeline should judge by, and what it says it does."""
    table = point_assignments.c
    query = (
        select(
            table.gateway, table.pipeline, operating_points.c.bundle, operating_points.c.name,
            operating_points.c.version, table.sha256, table.at_us,
        )
        .join(operating_points, operating_points.c.sha256 == table.sha256)
        .where(table.tenant == tenant)
        .order_by(table.gateway, table.pipeline)
    )  # fmt: skip
    found = [PointAssignment(*row) for row in connection.execute(query)]
    told: Mapping[tuple[str, str], str] = {
        (gateway, pipeline.name): pipeline.operating_point
        for gateway, state in selection.states_of(connection, Selection(), tenant)
        for pipeline in state.pipelines
    }
    return [msgspec.structs.replace(each, judges_by=told.get((each.gateway, each.pipeline), "")) for each in found]


def _check_release(connection: Connection, objects: Objects, point: Point) -> None:
    release = catalogue.by_digest(connection, point.digest)
    if release is None or release.name != point.bundle:
        message = f"{point.name} {point.version} is made for {point.bundle} {point.digest[:12]}, which is not here"
        raise CatalogueError(message, "publish that release first: cloud-hub publish DIR --key FILE")
    if why := points.suits(point, catalogue.manifest(objects, release), release.digest):
        message = f"{point.name} {point.version}: {why}"
        raise CatalogueError(message, "correct what stands there; nothing was changed")
