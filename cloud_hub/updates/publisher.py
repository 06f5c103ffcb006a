"""`publish` on the publisher's machine: everything is checked before anything is sent, and the key never leaves.

What the hub lacks is uploaded by digest; then the publisher's metadata with the new release is handed in. Publishing
the same again changes nothing.
"""

import hashlib
import mmap
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cloud_hub.errors import CatalogueError, TrustError
from cloud_hub.updates import signing
from cloud_hub.updates.catalogue import Release
from cloud_hub.updates.desk import Desk
from cloud_hub.updates.releases import MAX_FILE_BYTES, published
from cloud_hub.updates.repository import DAY_US, OFF, OFF_HINT, PUBLISHER_DAYS, after
from cloud_hub.updates.signing import ROOT, TARGETS, Delegation, Listing, Stamp
from edge_protocol import agreement, bundle, counters, points
from edge_protocol.agreement import Published, Target
from edge_protocol.bundle import Manifest, OperatingPoint
from edge_protocol.envelope import PrivateKey
from edge_protocol.errors import DecodeError, ManifestError
from edge_protocol.points import Point

RENEW_DAYS = PUBLISHER_DAYS // 2
"""With less left, publishing the same again signs it anew."""

_EXTERNAL_DATA = b"\x0a\x08location"
"""How ONNX writes that weights lie in a file beside; gateways refuse by the same mark."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be published, by whom and why; an empty floor states none."""

    folder: Path
    key: PrivateKey
    floor: str = ""
    actor: str = ""
    reason: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """What a publication came to. `changed` is false when the hub had it all."""

    name: str
    version: str
    digest: str
    publisher: str
    floor: str
    changed: bool
    metadata_version: int
    uploaded: int
    uploaded_bytes: int


@dataclass(frozen=True, slots=True)
class PointRequest:
    """An operating point that is to be published for a release of the hub, by whom and why."""

    bundle: str
    bundle_version: str
    name: str
    version: str
    point: OperatingPoint
    key: PrivateKey
    actor: str = ""
    reason: str = ""


class PointOutcome(msgspec.Struct, frozen=True):
    """What came of it. `changed` is false when the hub had it."""

    bundle: str
    digest: str
    name: str
    version: str
    sha256: str
    publisher: str
    changed: bool
    metadata_version: int


@dataclass(frozen=True, slots=True)
class _Release:
    manifest: Manifest
    target: Target
    paths: dict[str, Path]
    """Where the bytes of each digest lie."""


def publish(desk: Desk, request: Request, now_us: int) -> Outcome:
    """Publish the bundle of a folder.

    Raises:
        CatalogueError: not a bundle that may be published, or the hub refuses it.
        TrustError: the key may not sign it, or updates are off.
        HubAway: no hub answers.
    """
    release = _read(request)
    top, me, mine = _standing(desk.metadata(), request.key)
    _check_allowed(release.manifest.name, top, me)
    _check_catalogue(desk.releases(), release)
    known = next((each for each in mine.targets if each.path == release.target.path), None)
    target = release.target if known is None else _check_floor_stays(known, release, request.floor)
    uploaded = _upload(desk, release)
    stamp = Stamp(mine.stamp.version + 1, after(now_us, PUBLISHER_DAYS))
    changed = known is None or mine.stamp.expires_us < now_us + RENEW_DAYS * DAY_US
    version = mine.stamp.version
    if changed:
        targets = mine.targets if known is not None else (*mine.targets, target)
        raw = signing.make_listing(Listing(stamp, targets), "", request.key)
        version = desk.hand_in(me.name, raw, request.actor, request.reason).version
    said = published(target)
    return Outcome(
        release.manifest.name, release.manifest.version, target.sha256, me.name, said.floor if said else "",
        changed, version, len(uploaded), sum(path.stat().st_size for path in uploaded),
    )  # fmt: skip


def publish_point(desk: Desk, request: PointRequest, now_us: int) -> PointOutcome:
    """Publish an operating point.

    Raises:
        CatalogueError: it breaks a rule, the hub has another of this version, or not the release it is for.
        TrustError: the key may not sign it, or updates are off.
        HubAway: no hub answers.
    """
    wanted = (request.bundle, request.bundle_version)
    release = next((each for each in desk.releases() if (each.name, each.version) == wanted), None)
    if release is None:
        message = f"{request.bundle} {request.bundle_version} is not at the hub"
        raise CatalogueError(message, "publish that release first: cloud-hub publish DIR --key FILE")
    point = Point(
        schema=points.SCHEMA, bundle=request.bundle, digest=release.digest, name=request.name, version=request.version,
        operating_point=request.point,
    )  # fmt: skip
    raw = points.canonical(point)
    try:
        points.parse(raw)
    except DecodeError as error:
        raise CatalogueError(str(error), "correct what stands there; nothing was changed") from error
    top, me, mine = _standing(desk.metadata(), request.key)
    _check_allowed(request.bundle, top, me)
    path, sha256 = points.path_of(point.bundle, point.name, point.version), hashlib.sha256(raw).hexdigest()
    known = next((each for each in mine.targets if each.path == path), None)
    if known is not None and known.sha256 != sha256:
        message = f"{point.name} {point.version} of {point.bundle} is published and says something else"
        raise CatalogueError(message, "an operating point does not change: give the new one another version")
    version = mine.stamp.version
    if known is None:
        with tempfile.TemporaryDirectory(prefix="lineside-") as folder:
            (Path(folder) / sha256).write_bytes(raw)
            desk.upload(sha256, Path(folder) / sha256)
        custom = msgspec.to_builtins(Published(kind=points.KIND))
        targets = (*mine.targets, Target(path, sha256, len(raw), custom))
        stamp = Stamp(version + 1, after(now_us, PUBLISHER_DAYS))
        signed = signing.make_listing(Listing(stamp, targets), "", request.key)
        version = desk.hand_in(me.name, signed, request.actor, request.reason).version
    return PointOutcome(
        point.bundle, point.digest, point.name, point.version, sha256, me.name, known is None, version
    )  # fmt: skip


def has_external_data(model: Path) -> bool:
    """Whether an ONNX file keeps weights in another file."""
    if not model.stat().st_size:
        return False
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(_EXTERNAL_DATA) >= 0


def _read(request: Request) -> _Release:
    folder = request.folder
    try:
        manifest, digest = bundle.load(folder)
        if manifest.reference:
            counters.load_reference((folder / manifest.reference).read_bytes())
    except (ManifestError, DecodeError) as error:
        raise CatalogueError(str(error), error.hint or "make the bundle again by its recipe") from error
    what = f"{manifest.name} {manifest.version}"
    for variant in manifest.variants:
        if has_external_data(folder / variant.file):
            message = f"{what}: {variant.file} keeps its weights in another file"
            raise CatalogueError(message, "save the model as one file: onnx.save(model, path), without external data")
    for name, file in manifest.files.items():
        if file.length > MAX_FILE_BYTES:
            message = f"{what}: {name} has {file.length} bytes, a hub takes {MAX_FILE_BYTES}"
            raise CatalogueError(message, "quantize the model, or leave the file out of the bundle")
    _check_floor(manifest, request.floor)
    path = agreement.path_of(manifest.name, manifest.version)
    length = (folder / bundle.MANIFEST).stat().st_size
    custom = msgspec.to_builtins(Published(floor=request.floor))
    paths = {file.sha256: folder / name for name, file in manifest.files.items()}
    return _Release(manifest, Target(path, digest, length, custom), {**paths, digest: folder / bundle.MANIFEST})


def _check_floor(manifest: Manifest, floor: str) -> None:
    try:
        above = agreement.is_below(manifest.version, floor)
    except ValueError as error:
        message = f"{floor!r} is not a version"
        raise CatalogueError(message, "write the floor as three numbers, as 1.2.0") from error
    if above:
        message = f"the floor {floor} is above {manifest.name} {manifest.version} itself"
        raise CatalogueError(message, "choose a floor at or below the version that is published")


def _standing(files: dict[str, bytes], key: PrivateKey) -> tuple[Listing, Delegation, Listing]:
    """What `targets` says, who of its publishers has this key, and what that one has published so far."""
    root, targets = _newest(files, ROOT), _newest(files, TARGETS)
    if root is None or targets is None:
        raise TrustError(OFF, OFF_HINT)
    top = signing.verify_listing(targets, TARGETS, root)
    name = signing.key_name(key.public_key())
    me = next((each for each in top.delegations if signing.key_name(each.key) == name), None)
    if me is None:
        message = f"the hub delegates nothing to this key ({name[:12]})"
        raise TrustError(message, "have its owner run: cloud-hub keys delegate NAME FILE.pub --paths BUNDLE")
    role = signing.publisher_role(me.name)
    raw = _newest(files, role)
    return top, me, Listing(Stamp(0, 0)) if raw is None else signing.verify_listing(raw, role, targets)


def _newest(files: dict[str, bytes], role: str) -> bytes | None:
    suffix = f".{role}.json"
    versions = [int(name.partition(".")[0]) for name in files if name.partition(".")[1:] == (".", suffix[1:])]
    return files[f"{max(versions)}{suffix}"] if versions else None


def _check_allowed(name: str, top: Listing, me: Delegation) -> None:
    allowed = top.publisher_of(name)
    if allowed == me.name:
        return
    message = f"this key ({me.name}) may sign {' '.join(me.patterns)}, not {name!r}"
    if allowed and me.allows(name):
        message = f"{name!r} is signed by publisher {allowed}, which gateways ask before {me.name}"
    raise TrustError(message, f"have it delegated: cloud-hub keys delegate NAME FILE.pub --paths {name}")


def _check_catalogue(releases: Iterable[Release], release: _Release) -> None:
    name, version = release.manifest.name, release.manifest.version
    for each in releases:
        if (each.name, each.version) == (name, version) and each.digest != release.target.sha256:
            message = f"{name} {version} is at the hub as {each.digest[:12]}, this is {release.target.sha256[:12]}"
            raise CatalogueError(message, "a release does not change: give the new one another version")


def _check_floor_stays(known: Target, release: _Release, floor: str) -> Target:
    said = published(known)
    if floor and (said is None or said.floor != floor):
        what = f"{release.manifest.name} {release.manifest.version}"
        message = f"{what} is published with {f'floor {said.floor}' if said and said.floor else 'no floor'}"
        raise CatalogueError(message, "a release does not change: publish the next version with the new floor")
    return known


def _upload(desk: Desk, release: _Release) -> list[Path]:
    missing = desk.missing(release.paths.keys())
    sent = []
    for digest, path in release.paths.items():
        if digest in missing:
            desk.upload(digest, path)
            sent.append(path)
    return sent
