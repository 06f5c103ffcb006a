"""The director: for each gateway one signed repository that says what each of its pipelines should run.

It can choose only among what publishers have signed and not forbidden; gateways check that for themselves.
"""

from collections import defaultdict
from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection, delete, select

from cloud_hub.access import audit
from cloud_hub.access.audit import Actor, Entry
from cloud_hub.errors import CatalogueError, TrustError
from cloud_hub.storage.database import put
from cloud_hub.storage.schema import assignments as table
from cloud_hub.storage.schema import bundles, gateways, operating_points, point_assignments
from cloud_hub.updates import catalogue, repository, signing
from cloud_hub.updates.catalogue import Release
from cloud_hub.updates.repository import MODELS, ONLINE_DAYS, after, director_of
from cloud_hub.updates.signing import SNAPSHOT, TARGETS, Listing, Stamp
from edge_protocol import agreement, points
from edge_protocol.agreement import Directed, Target
from edge_protocol.envelope import PrivateKey


class Assignment(msgspec.Struct, frozen=True):
    """What a pipeline should run, by which rollout and since when."""

    digest: str
    name: str
    version: str
    rollout: str
    at_us: int


def assignments(connection: Connection, gateway: str) -> dict[str, Assignment]:
    """What each pipeline of a gateway should run; one that is not named runs what it has."""
    columns = (table.c.pipeline, *(table.c[name] for name in Assignment.__struct_fields__))
    rows = connection.execute(select(*columns).where(table.c.gateway == gateway).order_by(table.c.pipeline))
    return {pipeline: Assignment(*rest) for pipeline, *rest in rows}


def assign(
    connection: Connection, signer: PrivateKey, gateway: str, wanted: Mapping[str, Release | None], *,
    rollout: str, actor: Actor, now_us: int,
) -> None:  # fmt: skip
    """Have these pipelines run these releases, None: say nothing of it any more; the others stay as they are.

    Rows and newly signed metadata are of the caller's transaction. What changes nothing signs nothing.

    Raises:
        TrustError: updates are off, or the gateway is not enrolled.
        CatalogueError: nobody whose key holds has signed the release, or it is below its publisher's floor.
    """
    found(connection, signer, gateway, now_us)
    floors = catalogue.floors(connection, actor.tenant)
    before = assignments(connection, gateway)
    changed: dict[str, str] = {}
    for pipeline, release in wanted.items():
        known = before.get(pipeline)
        if release is None:
            if known is not None:
                connection.execute(delete(table).where(table.c.gateway == gateway, table.c.pipeline == pipeline))
                changed[pipeline] = "-"
            continue
        _check(release, floors)
        if known is None or (known.digest, known.rollout) != (release.digest, rollout):
            row = {"gateway": gateway, "pipeline": pipeline, "tenant": actor.tenant, "at_us": now_us}
            named = {"digest": release.digest, "name": release.name, "version": release.version, "rollout": rollout}
            put(connection, table, row | named)
            changed[pipeline] = f"{release.name} {release.version} {release.digest[:12]}"
    if changed:
        sign(connection, signer, gateway, now_us)
        detail = {**changed, "rollout": rollout}
        audit.append(connection, actor, Entry("pipelines assigned", gateway, gateway, detail), now_us)


def found(connection: Connection, signer: PrivateKey, gateway: str, now_us: int) -> bool:
    """Give a gateway its first, empty metadata; False when it has some.

    Raises:
        TrustError: updates are off, or the gateway is not enrolled.
    """
    repository.lock(connection)
    if repository.version_of(connection, director_of(gateway), TARGETS):
        return False
    repository.need(connection, MODELS, SNAPSHOT)
    if connection.execute(select(gateways.c.id).where(gateways.c.id == gateway)).one_or_none() is None:
        message = f"{gateway} is not enrolled here"
        raise TrustError(message, "enrol it: cloud-hub enrol REQUEST")
    sign(connection, signer, gateway, now_us)
    return True


def sign(connection: Connection, signer: PrivateKey, gateway: str, now_us: int) -> None:
    """Sign what the rows say, as the next version of everything in the gateway's repository but the root."""
    where = director_of(gateway)
    stamp = Stamp(repository.version_of(connection, where, TARGETS) + 1, after(now_us, ONLINE_DAYS[TARGETS]))
    listing = Listing(stamp, _targets(connection, gateway))
    repository.put(connection, where, TARGETS, signing.make_listing(listing, where.mark(TARGETS), signer), now_us)
    repository.seal(connection, where, signer, now_us)


def _targets(connection: Connection, gateway: str) -> tuple[Target, ...]:
    """One target for each release, for all pipelines that should run it; the latest assignment names the rollout."""
    models = repository.version_of(connection, MODELS, SNAPSHOT)
    query = select(table, bundles.c.length).join(bundles, bundles.c.digest == table.c.digest)
    rows = connection.execute(query.where(table.c.gateway == gateway).order_by(table.c.at_us, table.c.pipeline))
    pipelines: defaultdict[str, list[str]] = defaultdict(list)
    targets: dict[str, Target] = {}
    for row in rows:
        path = agreement.path_of(row.name, row.version)
        pipelines[path].append(row.pipeline)
        named = tuple(pipelines[path])
        directed = Directed(gateway=gateway, pipelines=named, rollout=row.rollout, models=models)
        targets[path] = Target(path, row.digest, row.length, msgspec.to_builtins(directed))
    return *targets.values(), *_points(connection, gateway, models)


def _points(connection: Connection, gateway: str, models: int) -> tuple[Target, ...]:
    """One target for each operating point, for all pipelines that should judge by it."""
    query = select(operating_points, point_assignments.c.pipeline).join(
        point_assignments, point_assignments.c.sha256 == operating_points.c.sha256
    )
    rows = connection.execute(
        query.where(point_assignments.c.gateway == gateway).order_by(point_assignments.c.pipeline)
    ).all()
    targets: dict[str, Target] = {}
    for row in rows:
        path = points.path_of(row.bundle, row.name, row.version)
        named = tuple(each.pipeline for each in rows if each.sha256 == row.sha256)
        directed = Directed(gateway=gateway, pipelines=named, kind=points.KIND, models=models)
        targets[path] = Target(path, row.sha256, row.length, msgspec.to_builtins(directed))
    return tuple(targets.values())


def _check(release: Release, floors: Mapping[str, str]) -> None:
    what = f"{release.name} {release.version}"
    if not release.publisher:
        message = f"no publisher whose key holds has signed {what}"
        raise CatalogueError(message, "publish it: cloud-hub publish DIR --key FILE")
    floor = floors.get(release.name, "")
    if agreement.is_below(release.version, floor):
        message = f"{what} is below its publisher's floor {floor}"
        raise CatalogueError(message, "roll out a version at or above the floor")
