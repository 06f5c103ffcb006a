"""Metadata of TUF repositories as bytes: made, signed, opened and verified here, the only file that knows python-tuf.

Pure: keys, versions and times come in, bytes go out. It knows no folder, no database and no clock.
"""

import datetime as dt
import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import CryptoSigner, Key, SSlibKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError, SerializationError
from tuf.api.serialization.json import JSONSerializer

from cloud_hub.errors import TrustError
from edge_protocol import metadata
from edge_protocol.agreement import Target
from edge_protocol.envelope import PrivateKey, PublicKey

ROOT, TARGETS, SNAPSHOT, TIMESTAMP = "root", "targets", "snapshot", "timestamp"

ROOT_THRESHOLD = 2
"""So many of the root keys sign a root: one that is lost or stolen is neither the end nor enough."""

MAX_METADATA_BYTES = 2_000_000
"""What the updater of a gateway takes of one role."""

_PUBLISHER = "pub-"
_MANIFEST = "/*/manifest.json"
_POINT = "/operating-points/*/*.json"
_DAMAGED = "restore the hub's database from its backup, or publish again"

S = TypeVar("S", Root, Targets)


class Keys(msgspec.Struct, frozen=True):
    """Who may sign what in a repository: the root keys, those of `targets`, and the hub's online key for the rest."""

    root: tuple[PublicKey, ...]
    targets: PublicKey
    online: PublicKey


class Stamp(msgspec.Struct, frozen=True):
    """Which version of a role's metadata it is, and until when it may be accepted."""

    version: int
    expires_us: int


class Delegation(msgspec.Struct, frozen=True):
    """A publisher: the patterns of bundle names that its key signs for."""

    name: str
    key: PublicKey
    patterns: tuple[str, ...]

    def allows(self, bundle: str) -> bool:
        """Whether a bundle of this name is this publisher's to sign."""
        return any(fnmatch.fnmatchcase(bundle, pattern) for pattern in self.patterns)


class Listing(msgspec.Struct, frozen=True):
    """What a `targets` role says: what exists, and who else may say so."""

    stamp: Stamp
    targets: tuple[Target, ...] = ()
    delegations: tuple[Delegation, ...] = ()

    def publisher_of(self, bundle: str) -> str:
        """The name of the first publisher that signs for bundles of this name, as a gateway looks; empty: nobody."""
        return next((each.name for each in self.delegations if each.allows(bundle)), "")


def publisher_role(name: str) -> str:
    """The role of a publisher."""
    return _PUBLISHER + name


def key_name(key: PublicKey) -> str:
    """What the key is called in metadata."""
    return _public(key).keyid


def make_root(keys: Keys, stamp: Stamp, mark: str, signers: Iterable[PrivateKey]) -> bytes:
    """A root, signed by some of its own keys and, after the first version, by those of the one before."""
    root = Root(stamp.version, expires=_time(stamp.expires_us), consistent_snapshot=True, **_marked(mark))
    for key in keys.root:
        root.add_key(_public(key), ROOT)
    root.roles[ROOT].threshold = ROOT_THRESHOLD
    root.add_key(_public(keys.targets), TARGETS)
    for role in (SNAPSHOT, TIMESTAMP):
        root.add_key(_public(keys.online), role)
    return _sign(root, signers)


def make_listing(listing: Listing, mark: str, signer: PrivateKey) -> bytes:
    """The metadata of a `targets` role, of the top one or of a publisher's; the latter needs no mark."""
    signed = Targets(
        listing.stamp.version,
        expires=_time(listing.stamp.expires_us),
        targets={target.path: _target_file(target) for target in listing.targets},
        delegations=_delegations(listing.delegations) if listing.delegations else None,
        **_marked(mark),
    )
    return _sign(signed, [signer])


def make_snapshot(roles: Mapping[str, bytes], stamp: Stamp, mark: str, signer: PrivateKey) -> bytes:
    """The snapshot that names exactly these files of roles."""
    meta = {f"{role}.json": _meta_file(raw) for role, raw in sorted(roles.items())}
    return _sign(Snapshot(stamp.version, expires=_time(stamp.expires_us), meta=meta, **_marked(mark)), [signer])


def make_timestamp(snapshot: bytes, stamp: Stamp, mark: str, signer: PrivateKey) -> bytes:
    """The timestamp that names this snapshot."""
    named = _meta_file(snapshot)
    signed = Timestamp(stamp.version, expires=_time(stamp.expires_us), snapshot_meta=named, **_marked(mark))
    return _sign(signed, [signer])


def open_stamp(raw: bytes) -> Stamp:
    """Version and expiry of any metadata; nothing is verified.

    Raises:
        TrustError: not metadata.
    """
    return _stamp(_parse(raw).signed)


def open_listing(raw: bytes) -> Listing:
    """What a `targets` role says; nothing is verified.

    Raises:
        TrustError: not the metadata of such a role.
    """
    return _listing(_open(raw, Targets).signed)


def open_keys(root: bytes) -> Keys:
    """The keys of a root that `make_root` has made; nothing is verified.

    Raises:
        TrustError: not such a root.
    """
    signed = _open(root, Root).signed
    found = {
        role: [_crypto(signed.keys[name]) for name in signed.roles[role].keyids if name in signed.keys]
        for role in signed.roles
    }
    if not (found[ROOT] and found[TARGETS] and found[TIMESTAMP]):
        message = "the root names no keys"
        raise TrustError(message, _DAMAGED)
    return Keys(tuple(found[ROOT]), found[TARGETS][0], found[TIMESTAMP][0])


def verify_root(raw: bytes, before: bytes | None = None) -> Keys:
    """The keys of a root that is signed as it asks itself and, if there is one, as the root before it asks.

    Raises:
        TrustError: too few signatures, or not the version that follows.
    """
    new = _open(raw, Root)
    old = new if before is None else _open(before, Root)
    _verified(lambda: old.signed.verify_delegate(ROOT, new.signed_bytes, new.signatures), "the root")
    _verified(lambda: new.signed.verify_delegate(ROOT, new.signed_bytes, new.signatures), "the root")
    if before is not None and new.signed.version != old.signed.version + 1:
        message = f"version {new.signed.version} of the root does not follow {old.signed.version}"
        raise TrustError(message, "sign the next version")
    return open_keys(raw)


def verify_listing(raw: bytes, role: str, delegator: bytes) -> Listing:
    """What `role` says, its signature verified by `delegator`: a root for `targets`, `targets` for a publisher's.

    Raises:
        TrustError: not such metadata, a role that is not delegated, or not signed by its key.
    """
    signed = _open(raw, Targets)
    above = _open(delegator, Root).signed if role == TARGETS else _open(delegator, Targets).signed
    _verified(lambda: above.verify_delegate(role, signed.signed_bytes, signed.signatures), role)
    return _listing(signed.signed)


def _marked(mark: str) -> dict[str, Any]:
    return {"unrecognized_fields": {metadata.MARK: mark}} if mark else {}


def _verified(check: Callable[[], None], what: str) -> None:
    try:
        check()
    except (RepositoryError, UnverifiedSignatureError, ValueError) as error:
        message = f"{what} is not signed by the keys that are delegated to: {error}"
        raise TrustError(message, "cloud-hub keys show lists the keys; sign with the right one") from error


def _sign(signed: Root | Targets | Snapshot | Timestamp, signers: Iterable[PrivateKey]) -> bytes:
    made: Metadata[Any] = Metadata(signed)
    for key in signers:
        made.sign(CryptoSigner(key, _public(key.public_key())), append=True)
    return made.to_bytes(JSONSerializer(compact=True))


def _open(raw: bytes, kind: type[S]) -> Metadata[S]:
    found = _parse(raw)
    if not isinstance(found.signed, kind):
        message = f"metadata of the role {found.signed.type} where {kind.__name__} is expected"
        raise TrustError(message, _DAMAGED)
    return cast("Metadata[S]", found)


def _parse(raw: bytes) -> Metadata[Any]:
    if len(raw) > MAX_METADATA_BYTES:
        message = f"{len(raw)} bytes of metadata, at most {MAX_METADATA_BYTES} are taken"
        raise TrustError(message, "split the publisher's bundles among several publishers")
    try:
        found: Metadata[Any] = Metadata.from_bytes(raw)
        _ = found.signed_bytes  # what cannot be written canonically cannot be verified
    except (DeserializationError, SerializationError, ValueError, RecursionError) as error:
        message = f"not TUF metadata: {str(error)[:200]}"
        raise TrustError(message, _DAMAGED) from error
    return found


def _listing(signed: Targets) -> Listing:
    delegations = signed.delegations
    publishers = [] if delegations is None or delegations.roles is None else list(delegations.roles.values())
    keys: Mapping[str, Key] = {} if delegations is None else delegations.keys
    return Listing(
        _stamp(signed),
        tuple(_target(path, file) for path, file in signed.targets.items()),
        tuple(_delegation(role, keys) for role in publishers),
    )


def _target(path: str, file: TargetFile) -> Target:
    custom = file.custom if isinstance(file.custom, dict) else {}
    return Target(path, file.hashes.get("sha256", ""), file.length, custom)


def _target_file(target: Target) -> TargetFile:
    custom = {"custom": target.custom} if target.custom else None
    return TargetFile(target.length, {"sha256": target.sha256}, target.path, custom)


def _meta_file(raw: bytes) -> MetaFile:
    return MetaFile.from_data(open_stamp(raw).version, raw, ["sha256"])


def _delegations(publishers: Sequence[Delegation]) -> Delegations:
    keys = {_public(each.key).keyid: cast("Key", _public(each.key)) for each in publishers}
    roles = {
        publisher_role(each.name): DelegatedRole(
            publisher_role(each.name), [_public(each.key).keyid], 1,
            terminating=True, paths=[pattern + path for pattern in each.patterns for path in (_MANIFEST, _POINT)],
        )
        for each in publishers
    }  # fmt: skip
    return Delegations(keys, roles)


def _delegation(role: DelegatedRole, keys: Mapping[str, Key]) -> Delegation:
    patterns = tuple(path.removesuffix(_MANIFEST) for path in role.paths or () if path.endswith(_MANIFEST))
    known = [keys[name] for name in role.keyids if name in keys]
    if len(known) != 1:
        message = f"the delegation to {role.name[:60]} does not name one key"
        raise TrustError(message, _DAMAGED)
    return Delegation(role.name.removeprefix(_PUBLISHER), _crypto(known[0]), patterns)


def _public(key: PublicKey) -> SSlibKey:
    return SSlibKey.from_crypto(key)


def _crypto(key: Key) -> PublicKey:
    try:
        return cast("PublicKey", cast("SSlibKey", key)._crypto_key())  # noqa: SLF001 (the only way back to a key)
    except (ValueError, UnsupportedAlgorithm, AttributeError) as error:
        message = f"key {key.keyid[:12]} of the metadata is not one this hub uses"
        raise TrustError(message, _DAMAGED) from error


def _stamp(signed: Root | Targets | Snapshot | Timestamp) -> Stamp:
    return Stamp(signed.version, round(signed.expires.timestamp()) * 1_000_000)


def _time(at_us: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(at_us // 1_000_000, dt.UTC)
