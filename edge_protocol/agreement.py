"""What two verified repositories name comes in, what each pipeline of a gateway shall run goes out. Pure.

`models` says what may exist, `director` what this gateway should run. Neither is enough: a thief of the hub's online
key can choose among what publishers have signed and not forbidden, and nothing else. Signatures, versions and expiry
are judged before, by the updater of each repository.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias, TypeVar

import msgspec

from edge_protocol.bundle import MAX_MANIFEST_BYTES
from edge_protocol.updates import Refusal, UpdateRefused

KIND = "bundle"
"""The kind of target that is a release; `points` knows operating points. Reserved: config, hub-keys, agent."""

T = TypeVar("T", bound=msgspec.Struct)
Ruled = TypeVar("Ruled")

Version: TypeAlias = tuple[int, int, int]

NAME = r"[a-z0-9-]{1,64}"
NUMBERS = r"(?:0|[1-9][0-9]{0,8})(?:\.(?:0|[1-9][0-9]{0,8})){2}"
_VERSION = re.compile(NUMBERS)
_PATH = re.compile(rf"({NAME})/({NUMBERS})/manifest\.json")


class Directed(msgspec.Struct, frozen=True, kw_only=True):
    """`custom` of a target of the director: for whom it is, and which of its pipelines shall run it.

    `models` is the version of the publishers' snapshot that the director knew: with an older one here, wait for it.
    """

    gateway: str
    pipelines: tuple[str, ...]
    kind: str = KIND
    rollout: str = ""
    models: int = 0


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """`custom` of a target of `models`. `floor` is the lowest version of its name that may run from now on."""

    kind: str = KIND
    floor: str = ""


class Target(msgspec.Struct, frozen=True):
    """A verified target: the digest of a manifest, its length, and the JSON object that was signed with them."""

    path: str
    sha256: str
    length: int
    custom: dict[str, object] = {}


class Wanted(msgspec.Struct, frozen=True):
    """What a pipeline shall run. `digest` is the bundle's: the SHA-256 of its manifest."""

    pipeline: str
    bundle: str
    version: str
    digest: str
    length: int
    rollout: str = ""


def path_of(bundle: str, version: str) -> str:
    """The target's path of a release in both repositories."""
    return f"{bundle}/{version}/manifest.json"


def release_of(path: str) -> tuple[str, str]:
    """Bundle name and version of a target's path.

    Raises:
        UpdateRefused: INCOMPATIBLE: not the path of a release.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise UpdateRefused(Refusal.INCOMPATIBLE, f"{path[:120]!r} is not <name>/<version>/manifest.json")
    return match[1], match[2]


def parse_version(version: str) -> Version:
    """Three numbers that compare.

    Raises:
        ValueError: not such a version.
    """
    if _VERSION.fullmatch(version) is None:
        message = f"{version[:40]!r} is not a version"
        raise ValueError(message)
    first, second, third = version.split(".")
    return int(first), int(second), int(third)


def floors(models: Collection[Target]) -> dict[str, str]:
    """The floor of each bundle name: the highest that any of its targets states.

    What is not understood states none: it cannot be run either, and the others still hold.
    """
    found: dict[str, str] = {}
    for target in models:
        match = _PATH.fullmatch(target.path)
        published = _published(target)
        if match is not None and published is not None and published.floor:
            found[match[1]] = highest(found.get(match[1], ""), published.floor)
    return found


def highest(first: str, second: str) -> str:
    """The higher of two versions; an empty one is below all."""
    return max(first, second, key=lambda version: parse_version(version) if version else (-1, 0, 0))


def is_below(version: str, floor: str) -> bool:
    """Whether `version` may no longer run; an empty floor forbids nothing."""
    return bool(floor) and parse_version(version) < parse_version(floor)


def agree(  # noqa: PLR0917 (in the order of the rule)
    gateway: str,
    pipelines: Collection[str],
    director: Collection[Target],
    models: Mapping[str, Target | UpdateRefused],
    known_floors: Mapping[str, str],
    models_version: int = 0,
) -> dict[str, Wanted | UpdateRefused]:
    """For each pipeline of this gateway that the director names: what it shall run, or why that is refused.

    `models` are the targets of the publishers by path, or why one is not taken; `known_floors` the highest floors ever
    seen, per bundle name; `models_version` the version of the publishers' snapshot that these are from. A pipeline
    that two targets name is refused; one that none names is left alone.
    """
    return rule_each(
        pipelines,
        director,
        (KIND, None),
        lambda pipeline, target, directed: _rule(
            gateway, pipeline, target, directed, models, known_floors, models_version
        ),
        "releases",
    )


def rule_each(
    pipelines: Collection[str],
    director: Collection[Target],
    kinds: Collection[str | None],
    rule: Callable[[str, Target, Directed | None], Ruled],
    what: str,
) -> dict[str, Ruled | UpdateRefused]:
    """What `rule` says of each pipeline that the director names with a target of these kinds; two are refused."""
    result: dict[str, Ruled | UpdateRefused] = {}
    for target in sorted(director, key=lambda each: each.path):
        if kind_of(target) not in kinds:
            continue
        directed = custom_of(target, Directed)
        ruling: Ruled | UpdateRefused
        for pipeline in pipelines if directed is None else dict.fromkeys(directed.pipelines):
            if pipeline not in pipelines:
                continue
            try:
                ruling = rule(pipeline, target, directed)
            except UpdateRefused as refused:
                ruling = refused
            if pipeline in result:
                ruling = UpdateRefused(Refusal.INCOMPATIBLE, f"two {what} are named for pipeline {pipeline!r}")
            result[pipeline] = ruling
    return result


def both_signed(  # noqa: PLR0917 (in the order of the rule)
    what: str,
    gateway: str,
    target: Target,
    directed: Directed | None,
    models: Mapping[str, Target | UpdateRefused],
    models_version: int,
) -> tuple[Directed, Target]:
    """What director and publisher say of a target that both have signed alike, and that is for this gateway.

    Raises:
        UpdateRefused: INCOMPATIBLE, NOT_ADDRESSED, STALE or NOT_AGREED, or as the publisher's is refused.
    """
    if directed is None:
        raise UpdateRefused(Refusal.INCOMPATIBLE, f"what the director says of {what} is not understood")
    if directed.gateway != gateway:
        raise UpdateRefused(Refusal.NOT_ADDRESSED, f"{what} is for {directed.gateway[:40]!r}, this is {gateway!r}")
    published = models.get(target.path)
    if isinstance(published, UpdateRefused):
        raise UpdateRefused(published.refusal, published.detail)
    if published is None and models_version < directed.models:
        detail = f"{what} is in the publishers' set {directed.models}, here is {models_version}"
        raise UpdateRefused(Refusal.STALE, detail)
    if published is None:
        raise UpdateRefused(Refusal.NOT_AGREED, f"no publisher has signed {what}")
    if (published.sha256, published.length) != (target.sha256, target.length):
        detail = f"{what} is {published.sha256[:12]} for its publisher and {target.sha256[:12]} for the director"
        raise UpdateRefused(Refusal.NOT_AGREED, detail)
    return directed, published


def _rule(  # noqa: PLR0917 (internal, in the order of the rule)
    gateway: str,
    pipeline: str,
    target: Target,
    directed: Directed | None,
    models: Mapping[str, Target | UpdateRefused],
    known_floors: Mapping[str, str],
    models_version: int,
) -> Wanted:
    name, version = release_of(target.path)
    what = f"{name} {version}"
    directed, published = both_signed(what, gateway, target, directed, models, models_version)
    if _published(published) is None:
        raise UpdateRefused(Refusal.INCOMPATIBLE, f"what the publisher says of {what} is not understood")
    floor = known_floors.get(name, "")
    if is_below(version, floor):
        raise UpdateRefused(Refusal.BELOW_FLOOR, f"{what} is below the publisher's floor {floor}")
    if target.length > MAX_MANIFEST_BYTES:
        detail = f"the manifest of {what} has {target.length} bytes, at most {MAX_MANIFEST_BYTES} are taken"
        raise UpdateRefused(Refusal.TOO_LARGE, detail)
    return Wanted(pipeline, name, version, target.sha256, target.length, directed.rollout)


def _published(target: Target) -> Published | None:
    """What the publisher says of a release; None when it is of another kind or not understood."""
    published = custom_of(target, Published)
    if published is None or published.kind != KIND:
        return None
    if published.floor and _VERSION.fullmatch(published.floor) is None:
        return None
    return published


def kind_of(target: Target) -> object:
    """The kind the director says a target is of; None when that is not understood."""
    kind = target.custom.get("kind", KIND)
    return kind if isinstance(kind, str) else None


def custom_of(target: Target, kind: type[T]) -> T | None:
    """What was signed beside a target, as `kind`; None when it is not understood."""
    try:
        return msgspec.convert(target.custom, kind)
    except msgspec.ValidationError:
        return None
