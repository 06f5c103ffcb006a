"""An operating point that takes the place of a bundle's own: the small file that is signed, and who must agree to it.

It is a target of both repositories, as a release is: a publisher says that it exists and for which bundle it was made,
the director which pipelines of a gateway judge by it. Pure.
"""

import re
from collections.abc import Collection, Mapping

import msgspec

from edge_protocol.agreement import NAME, NUMBERS, Directed, Published, Target, both_signed, custom_of, rule_each
from edge_protocol.contract import OperatingPoint
from edge_protocol.contract_rules import point_problems, suit_problems
from edge_protocol.errors import DecodeError
from edge_protocol.manifest import Manifest
from edge_protocol.updates import Refusal, UpdateRefused

KIND = "operating-point"
SCHEMA = 1
MAX_POINT_BYTES = 65_536

_PATH = re.compile(rf"({NAME})/operating-points/({NAME})/({NUMBERS})\.json")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A named operating point in a version of its own, made for one release: another one's scores mean something else.

    `digest` is that release's. Unknown fields are ignored.
    """

    schema: int
    bundle: str
    digest: str
    name: str
    version: str
    operating_point: OperatingPoint


class WantedPoint(msgspec.Struct, frozen=True):
    """What a pipeline shall judge by. `sha256` and `length` are those of the file of a `Point`."""

    pipeline: str
    bundle: str
    name: str
    version: str
    sha256: str
    length: int


def path_of(bundle: str, name: str, version: str) -> str:
    """The target's path in both repositories."""
    return f"{bundle}/operating-points/{name}/{version}.json"


def named(path: str) -> tuple[str, str, str]:
    """Bundle, name and version of a target's path.

    Raises:
        UpdateRefused: INCOMPATIBLE: not the path of an operating point.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise UpdateRefused(Refusal.INCOMPATIBLE, f"{path[:120]!r} is not that of an operating point")
    return match[1], match[2], match[3]


def canonical(point: Point) -> bytes:
    """The bytes to sign."""
    return msgspec.json.format(msgspec.json.encode(point), indent=2) + b"\n"


def parse(raw: bytes) -> Point:
    """The operating point in the bytes of its file.

    Raises:
        DecodeError: not one, or it breaks a rule.
    """
    try:
        point = msgspec.json.decode(raw, type=Point)
    except msgspec.MsgspecError as error:
        message = f"not an operating point: {error}"
        raise DecodeError(message) from error
    problems = list(point_problems(point.operating_point))
    if point.schema != SCHEMA:
        problems.insert(0, f"schema: {point.schema} is not known here, {SCHEMA} is")
    if _PATH.fullmatch(path_of(point.bundle, point.name, point.version)) is None or not _SHA256.fullmatch(point.digest):
        problems.insert(0, "bundle, name, version and digest: names of a-z, 0-9 and hyphen, three numbers, SHA-256")
    if problems:
        raise DecodeError("; ".join(problems)[:500])
    return point


def suits(point: Point, manifest: Manifest, digest: str) -> str:
    """Why a model with this manifest cannot judge by `point`; empty when it can."""
    if point.digest != digest:
        return f"it was made for {point.bundle} {point.digest[:12]}, {manifest.name} {digest[:12]} runs"
    return "; ".join(suit_problems(point.operating_point, manifest.output))


def agree(
    gateway: str,
    pipelines: Collection[str],
    director: Collection[Target],
    models: Mapping[str, Target | UpdateRefused],
    models_version: int = 0,
) -> dict[str, WantedPoint | UpdateRefused]:
    """For each pipeline that the director names with an operating point: what it shall judge by, or why not.

    The same rule as for releases, see `agreement.agree`, without floors. A pipeline that none names judges by its
    bundle's own; one that two name is refused.
    """
    return rule_each(
        pipelines,
        director,
        (KIND,),
        lambda pipeline, target, directed: _rule(gateway, pipeline, target, directed, models, models_version),
        "operating points",
    )


def _rule(  # noqa: PLR0917 (internal, in the order of the rule)
    gateway: str,
    pipeline: str,
    target: Target,
    directed: Directed | None,
    models: Mapping[str, Target | UpdateRefused],
    models_version: int,
) -> WantedPoint:
    bundle, name, version = named(target.path)
    what = f"operating point {name} {version} of {bundle}"
    _, published = both_signed(what, gateway, target, directed, models, models_version)
    said = custom_of(published, Published)
    if said is None or said.kind != KIND:
        raise UpdateRefused(Refusal.INCOMPATIBLE, f"what the publisher says of {what} is not understood")
    if target.length > MAX_POINT_BYTES:
        detail = f"{what} has {target.length} bytes, at most {MAX_POINT_BYTES} are taken"
        raise UpdateRefused(Refusal.TOO_LARGE, detail)
    return WantedPoint(pipeline, bundle, name, version, target.sha256, target.length)
