"""What a publisher has signed is accepted here, or refused as a whole: the hub's half of `publish`.

The files must lie in the object store already. Rows, the publisher's metadata and a newly signed snapshot are one
transaction of the caller.
"""

import msgspec
from sqlalchemy import Connection

from cloud_hub.access import audit
from cloud_hub.access.audit import Actor, Entry
from cloud_hub.errors import CatalogueError, TrustError
from cloud_hub.storage.objects import Objects
from cloud_hub.updates import catalogue, points, repository, signing
from cloud_hub.updates.catalogue import Content, Release
from cloud_hub.updates.repository import DAY_US, MODELS, PUBLISHER_DAYS
from cloud_hub.updates.signing import TARGETS, Listing
from edge_protocol import agreement, bundle, counters
from edge_protocol.agreement import KIND, Published, Target
from edge_protocol.bundle import MAX_MANIFEST_BYTES, File
from edge_protocol.envelope import PrivateKey
from edge_protocol.errors import DecodeError, ManifestError
from edge_protocol.updates import UpdateRefused

MAX_FILE_BYTES = 512 * 1024 * 1024
"""A file of a release is received up to this."""

_AGAIN = "publish with the cloud-hub of this hub's version: cloud-hub publish DIR --key FILE"


class Accepted(msgspec.Struct, frozen=True):
    """What a publisher's new metadata came to: its version and what is new in it."""

    publisher: str
    version: int
    added: tuple[Release, ...] = ()


def accept(
    connection: Connection, objects: Objects, signer: PrivateKey, name: str, raw: bytes, *, actor: Actor, now_us: int
) -> Accepted:
    """Take the next metadata of publisher `name`. The same bytes again are taken again, and change nothing.

    Raises:
        TrustError: not signed by the publisher's key, not the next version, or it says what it may not.
        CatalogueError: what it names is not there as a whole, or is another release of the same version.
    """
    repository.lock(connection)
    role = signing.publisher_role(name)
    top = repository.need(connection, MODELS, TARGETS)
    listing = signing.verify_listing(raw, role, top)
    before = repository.latest(connection, MODELS, role)
    if raw == before:
        return Accepted(name, listing.stamp.version)
    known = None if before is None else signing.open_listing(before)
    new = check(listing, known, signing.open_listing(top), name, now_us)
    added = [_keep(connection, objects, name, target, actor, now_us) for target in new if not points.is_point(target)]
    # After the releases that they are made for.
    for target in filter(points.is_point, new):
        points.keep(connection, objects, name, target, actor=actor, now_us=now_us)
    repository.put(connection, MODELS, role, raw, now_us)
    repository.seal(connection, MODELS, signer, now_us)
    for release in added:
        detail = {"digest": release.digest, "publisher": name, "floor": release.floor}
        entry = Entry("bundle published", f"{release.name} {release.version}", detail=detail)
        audit.append(connection, actor, entry, now_us)
    return Accepted(name, listing.stamp.version, tuple(added))


def check(new: Listing, before: Listing | None, top: Listing, name: str, now_us: int) -> list[Target]:
    """The targets of `new` that `before` has not, if publisher `name` may say all this. Pure.

    Raises:
        TrustError: see `accept`.
    """
    version = 0 if before is None else before.stamp.version
    if new.stamp.version != version + 1:
        message = f"version {new.stamp.version} of {name} does not follow version {version}"
        raise TrustError(message, "publish again: somebody else has published with this key in the meantime")
    if not now_us < new.stamp.expires_us <= now_us + (PUBLISHER_DAYS + 1) * DAY_US:
        message = f"the signature of {name} must hold from now on and for at most {PUBLISHER_DAYS} days"
        raise TrustError(message, "check the clock of the publisher's machine")
    if new.delegations:
        message = f"{name} delegates to others, which a publisher may not"
        raise TrustError(message, _AGAIN)
    here = {target.path: target for target in new.targets}
    for target in () if before is None else before.targets:
        if here.pop(target.path, None) != target:
            message = f"{target.path} of the version before was changed or left out"
            raise TrustError(message, "a publisher only adds; to end a release, publish one with a floor above it")
    for target in here.values():
        _check_target(target, top, name)
    return list(here.values())


def published(target: Target) -> Published | None:
    """What the publisher says of a release; None when it is not understood."""
    try:
        said = msgspec.convert(target.custom, Published)
        agreement.highest(said.floor, said.floor)
    except (msgspec.ValidationError, ValueError):
        return None
    return said if said.kind == KIND else None


def _check_target(target: Target, top: Listing, name: str) -> None:
    version = ""
    try:
        if points.is_point(target):
            bundle_name = points.check(target)
        else:
            bundle_name, version = agreement.release_of(target.path)
    except UpdateRefused as error:
        raise TrustError(str(error.detail), _AGAIN) from error
    allowed = top.publisher_of(bundle_name)
    if allowed != name:
        message = f"{name} may not sign {bundle_name!r}" + (f": that is {allowed}'s" if allowed else "")
        raise TrustError(message, f"have it delegated: cloud-hub keys delegate NAME FILE.pub --paths {bundle_name}")
    if points.is_point(target):
        return
    said = published(target)
    if said is None or not 0 < target.length <= MAX_MANIFEST_BYTES or len(target.sha256) != 64:
        message = f"what {name} says of {target.path} is not understood"
        raise TrustError(message, _AGAIN)
    if said.floor and agreement.is_below(version, said.floor):
        message = f"the floor {said.floor} is above {bundle_name} {version} itself"
        raise TrustError(message, "choose a floor at or below the version that is published")


def _keep(  # noqa: PLR0917 (internal)
    connection: Connection, objects: Objects, name: str, target: Target, actor: Actor, now_us: int
) -> Release:
    said = published(target)
    content = _content(objects, target)
    return catalogue.keep(
        connection, content, actor, now_us, publisher=name, floor=said.floor if said is not None else ""
    )


def _content(objects: Objects, target: Target) -> Content:
    """What the target names, read from the object store and complete."""
    _need(objects, bundle.MANIFEST, File(target.sha256, target.length))
    raw = objects.get(target.sha256)
    try:
        manifest = bundle.parse(raw)
        if agreement.path_of(manifest.name, manifest.version) != target.path:
            message = f"{target.path} names the manifest of {manifest.name} {manifest.version}"
            raise CatalogueError(message, _AGAIN)
        for name, file in manifest.files.items():
            _need(objects, name, file)
        reference = None
        if manifest.reference:
            reference = counters.load_reference(objects.get(manifest.files[manifest.reference].sha256))
    except (ManifestError, DecodeError) as error:
        raise CatalogueError(str(error), error.hint or "make the bundle again by its recipe") from error
    return Content(manifest, raw, reference)


def _need(objects: Objects, name: str, file: File) -> None:
    length = objects.length(file.sha256)
    if length != file.length:
        message = f"{name} ({file.sha256[:12]}) is not in the object store" + (
            "" if length is None else f" with {file.length} bytes but {length}"
        )
        raise CatalogueError(message, "publish again: what is missing is uploaded again")
