"""The catalogue as people look at it: each release with what its manifest says, where it runs and what it judged.

Reads only. What a manifest says never changes, so a caller may remember `facts` for as long as it likes.
"""

from collections import defaultdict
from collections.abc import Callable
from itertools import groupby

import msgspec
from sqlalchemy import Connection, func, select

from cloud_hub.errors import HubError
from cloud_hub.storage.objects import Objects
from cloud_hub.storage.schema import contexts, gateways, verdict_totals
from cloud_hub.updates import catalogue
from cloud_hub.updates.catalogue import Release
from cloud_hub.updates.rollouts.reports import running
from edge_protocol.agreement import is_below, parse_version
from edge_protocol.bundle import Budget, Licence
from edge_protocol.codes import Verdict

MAX_CARD_BYTES = 64 * 1024
_NAMES = {verdict.value: verdict.name for verdict in Verdict}


class VariantView(msgspec.Struct, frozen=True):
    """A model file and what a gateway must have to run it; an empty list asks for nothing."""

    name: str
    length: int
    cpu_flags: tuple[str, ...]
    arch: tuple[str, ...]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a manifest says for people. `problem` says why nothing of it can be shown."""

    objective: str = ""
    variants: tuple[VariantView, ...] = ()
    goldens: int = 0
    budget: Budget = Budget()
    licences: tuple[Licence, ...] = ()
    lineage: dict[str, str] = {}
    card: str = ""
    length: int = 0
    problem: str = ""


class Post(msgspec.Struct, frozen=True):
    """A pipeline that runs a release by its gateway's word."""

    gateway: str
    pipeline: str
    variant: str


class ReleaseView(msgspec.Struct, frozen=True, kw_only=True):
    """A release, where it runs now, and all verdicts that were made with it; `share` is of those of its name."""

    release: Release
    facts: Facts
    is_below_floor: bool
    posts: tuple[Post, ...]
    verdicts: dict[str, int]
    share: float


class ModelView(msgspec.Struct, frozen=True, kw_only=True):
    """All releases of one name, the highest version first, and the floor below which none may run."""

    name: str
    floor: str
    releases: tuple[ReleaseView, ...]


def models(connection: Connection, facts_of: Callable[[Release], Facts]) -> list[ModelView]:
    """Every bundle name of the catalogue."""
    posts, judged, floors = _posts(connection), _verdicts(connection), catalogue.floors(connection)
    found = []
    for name, releases in groupby(catalogue.releases(connection), key=lambda each: each.name):
        newest = sorted(releases, key=lambda each: parse_version(each.version), reverse=True)
        total = sum(sum(judged[each.digest].values()) for each in newest)
        views = tuple(
            ReleaseView(
                release=each, facts=facts_of(each), is_below_floor=is_below(each.version, floors.get(name, "")),
                posts=tuple(posts[each.digest]), verdicts=judged[each.digest],
                share=sum(judged[each.digest].values()) / total if total else 0.0,
            )
            for each in newest
        )  # fmt: skip
        found.append(ModelView(name=name, floor=floors.get(name, ""), releases=views))
    return found


def facts(objects: Objects, release: Release) -> Facts:
    """What the manifest of a release says; one that the object store has lost is a problem, not an error."""
    try:
        manifest = catalogue.manifest(objects, release)
        card = objects.get(release.card)[:MAX_CARD_BYTES].decode("utf-8", "replace") if release.card else ""
    except HubError as error:
        return Facts(problem=f"{error}; {error.hint}")
    variants = (
        VariantView(each.name, manifest.files[each.file].length, each.cpu_flags, each.arch)
        for each in manifest.variants
    )
    return Facts(
        objective=manifest.objective, variants=tuple(variants), goldens=len(manifest.goldens), budget=manifest.budget,
        licences=manifest.licences, lineage=manifest.lineage, card=card,
        length=sum(file.length for file in manifest.files.values()),
    )  # fmt: skip


def _posts(connection: Connection) -> defaultdict[str, list[Post]]:
    found: defaultdict[str, list[Post]] = defaultdict(list)
    names = connection.execute(select(gateways.c.id)).scalars().all()
    for gateway, state in sorted(running(connection, names).items()):
        for pipeline in state.pipelines:
            found[pipeline.digest].append(Post(gateway, pipeline.name, pipeline.variant))
    return found


def _verdicts(connection: Connection) -> defaultdict[str, dict[str, int]]:
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    columns = (contexts.c.digest, verdict_totals.c.verdict)
    joined = (verdict_totals.c.context_id == contexts.c.id) & (verdict_totals.c.gateway == contexts.c.gateway)
    query = select(*columns, func.sum(verdict_totals.c.n)).join(verdict_totals, joined).group_by(*columns)
    for digest, verdict, n in connection.execute(query):
        found[digest][_NAMES.get(verdict, str(verdict))] = int(n)
    return found
