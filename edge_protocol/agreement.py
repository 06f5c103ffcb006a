"""What two verified repositories name comes in, what each pipeline of a gateway shall run goes out. Pure.

`models` says what may exist, `director` what this gateway should run. Neither is enough: a thief of the hub's online
key can choose among what publishers have signed and not forbidden, and nothing else. Signatures, versions and expiry
are judged before, by the updater of each repository.
"""

import re
from collections.abc import Collection, Mapping
from typing import TypeAlias, TypeVar

import msgspec

from edge_protocol.updates import Refusal, UpdateRefused

KIND = "bundle"
"""The kind of target this version knows; the others are reserved: operating-point, config, hub-keys, agent."""

T = TypeVar("T", bound=msgspec.Struct)

Version: TypeAlias = tuple[int, int, int]

_PATH = re.compile(r"([a-z0-9-]{1,64})/((?:0|[1-9]\d{0,8})(?:\.(?:0|[1-9]\d{0,8})){2})/manifest\.json")


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
    """Three numbers that compare. Raises ValueError: not such a version."""
    first, second, third = version.split(".")
    return int(first), int(second), int(third)


def floors(models: Collection[Target]) -> dict[str, str]:
    """The floor of each bundle name: the highest that any of its targets states. Targets of other kinds say nothing."""
    found: dict[str, str] = {}
    for target in models:
        custom = _custom(target, Published)
        if custom is None or custom.kind != KIND or not custom.floor:
            continue
        name, _ = release_of(target.path)
        found[name] = highest(found.get(name, ""), custom.floor)
    return found


def highest(first: str, second: str) -> str:
    """The higher of two versions; an empty one is below all."""
    return max(first, second, key=lambda version: parse_version(version) if version else (-1, 0, 0))


def is_below(version: str, floor: str) -> bool:
    """Whether `version` may no longer run; an empty floor forbids nothing."""
    return bool(floor) and parse_version(version) < parse_version(floor)


def agree(
    gateway: str,
    pipelines: Collection[str],
    director: Collection[Target],
    models: Mapping[str, Target],
    known_floors: Mapping[str, str],
) -> dict[str, Wanted | UpdateRefused]:
    """For each pipeline of this gateway that the director names: what it shall run, or why that is refused.

    `models` are the targets of the publishers by path, `known_floors` the highest floors ever seen, per bundle name.
    A pipeline that two targets name is refused; one that none names is left alone.
    """
    result: dict[str, Wanted | UpdateRefused] = {}
    for target in sorted(director, key=lambda each: each.path):
        custom = _custom(target, Directed)
        if custom is not None and custom.kind != KIND:
            continue
        ruling: Wanted | UpdateRefused
        for pipeline in custom.pipelines if custom is not None else pipelines:
            if pipeline not in pipelines:
                continue
            try:
                ruling = _rule(gateway, pipeline, target, custom, models, known_floors)
            except UpdateRefused as refused:
                ruling = refused
            if pipeline in result:
                ruling = UpdateRefused(Refusal.INCOMPATIBLE, f"two releases are named for pipeline {pipeline!r}")
            result[pipeline] = ruling
    return result


def _rule(  # noqa: PLR0917 (internal, in the order of the rule)
    gateway: str,
    pipeline: str,
    target: Target,
    custom: Directed | None,
    models: Mapping[str, Target],
    known_floors: Mapping[str, str],
) -> Wanted:
    name, version = release_of(target.path)
    what = f"{name} {version}"
    if custom is None:
        raise UpdateRefused(Refusal.INCOMPATIBLE, f"what the director says of {what} is not understood")
    if custom.gateway != gateway:
        raise UpdateRefused(Refusal.NOT_ADDRESSED, f"{what} is for {custom.gateway[:40]!r}, this is {gateway!r}")
    published = models.get(target.path)
    if published is None:
        raise UpdateRefused(Refusal.NOT_AGREED, f"no publisher has signed {what}")
    if (published.sha256, published.length) != (target.sha256, target.length):
        detail = f"{what} is {published.sha256[:12]} for its publisher and {target.sha256[:12]} for the director"
        raise UpdateRefused(Refusal.NOT_AGREED, detail)
    floor = known_floors.get(name, "")
    if is_below(version, floor):
        raise UpdateRefused(Refusal.BELOW_FLOOR, f"{what} is below the publisher's floor {floor}")
    return Wanted(pipeline, name, version, target.sha256, target.length, custom.rollout)


def _custom(target: Target, kind: type[T]) -> T | None:
    try:
        return msgspec.convert(target.custom, kind)
    except msgspec.ValidationError:
        return None
