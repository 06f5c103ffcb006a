"""Who may sign what: the first roots, publishers that are delegated to or revoked, and a new online key.

Rows of one transaction each. Private keys come in as values and are never kept but for the hub's own.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, insert, select, update

from cloud_hub.access import audit, keys
from cloud_hub.access.audit import Actor, Entry
from cloud_hub.errors import ConfigError, TrustError
from cloud_hub.storage.schema import gateways, publishers
from cloud_hub.updates import director, repository, signing
from cloud_hub.updates.offline import Offline
from cloud_hub.updates.repository import (
    DIRECTORS,
    MODELS,
    OFF,
    OFF_HINT,
    ROOT_DAYS,
    TARGETS_DAYS,
    Repository,
    after,
)
from cloud_hub.updates.signing import ROOT, TARGETS, Delegation, Keys, Listing, Stamp
from edge_protocol.envelope import PrivateKey, PublicKey

KEYS = "keys"
ONLINE_KEY = "online.pem"
MAX_PUBLISHERS = 24
"""Gateways look at a bounded number of roles, and each publisher is one."""

ROOT_FILES = {"models-root.json": MODELS, "director-root.json": DIRECTORS}
"""What a gateway begins to trust with, in its identity folder."""

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_PATTERN = re.compile(r"[a-z0-9*?-]{1,64}")


def online_key(connection: Connection, hub: Path) -> PrivateKey | None:
    """The hub's key for updates, the one that the newest root names; None while updates are off.

    Raises:
        TrustError: updates are on and the key is not in the hub's folder.
    """
    root = repository.latest(connection, MODELS, ROOT)
    if root is None:
        return None
    wanted = signing.key_name(signing.open_keys(root).online)
    for path in sorted((hub / KEYS).glob("online*.pem")):
        key = keys.load(path)
        if signing.key_name(key.public_key()) == wanted:
            return key
    message = f"the key that signs for gateways is not in {hub / KEYS}"
    raise TrustError(message, "restore it from the backup, or make a new one: cloud-hub keys rotate")


def need_online_key(connection: Connection, hub: Path) -> PrivateKey:
    """The hub's key for updates.

    Raises:
        TrustError: updates are off, or the key is not in the hub's folder.
    """
    key = online_key(connection, hub)
    if key is None:
        raise TrustError(OFF, OFF_HINT)
    return key


def first_roots(connection: Connection) -> dict[str, bytes]:
    """The first roots by the name of their file; empty while updates are off."""
    found = {name: repository.roots(connection, where).get("1.root.json") for name, where in ROOT_FILES.items()}
    return {name: raw for name, raw in found.items() if raw is not None}


def check_new(connection: Connection) -> None:
    """Only the first time is it a beginning.

    Raises:
        ConfigError: this hub has its roots.
    """
    if repository.latest(connection, MODELS, ROOT) is not None:
        message = "this hub has keys for updates already; new roots would lock out every enrolled gateway"
        raise ConfigError(message, "cloud-hub keys show lists them; cloud-hub keys rotate replaces the online key")


def make_online_key(hub: Path) -> PrivateKey:
    """The online key of a hub whose roots are about to be made; one that a cut-short init has left is used.

    Raises:
        ConfigError: it cannot be written.
    """
    path = hub / KEYS / ONLINE_KEY
    return keys.load(path) if path.exists() else keys.create(path)


def begin(connection: Connection, offline: Offline, online: PrivateKey, actor: Actor, now_us: int) -> None:
    """Sign the first roots, the first `targets`, and an empty repository for each gateway that is enrolled.

    Raises:
        ConfigError: this hub has its roots.
    """
    repository.lock(connection)
    check_new(connection)
    roots = tuple(key.public_key() for key in offline.roots)
    for where, targets in ((MODELS, offline.targets.public_key()), (DIRECTORS, online.public_key())):
        named = Keys(roots, targets, online.public_key())
        _put_root(connection, where, named, version=1, signers=offline.roots, now_us=now_us)
    _put_targets(connection, Listing(Stamp(1, after(now_us, TARGETS_DAYS))), offline.targets, now_us)
    repository.seal(connection, MODELS, online, now_us)
    for gateway in connection.execute(select(gateways.c.id)).scalars().all():
        director.found(connection, online, gateway, now_us)
    detail = {
        "online": signing.key_name(online.public_key()),
        "targets": signing.key_name(offline.targets.public_key()),
    }
    detail |= {f"root-{n}": signing.key_name(key) for n, key in enumerate(roots, 1)}
    audit.append(connection, actor, Entry("keys made", "updates", detail=detail), now_us)


def delegate(
    connection: Connection, publisher: Delegation, targets: PrivateKey, online: PrivateKey, *, actor: Actor, now_us: int
) -> None:
    """Let a publisher's key sign for the bundle names of its patterns.

    Raises:
        TrustError: the name or a pattern is not allowed, the name or the key was given before, or the wrong keys.
    """
    repository.lock(connection)
    _check_publisher(connection, publisher)
    listing = _listing(connection, targets)
    if len(listing.delegations) >= MAX_PUBLISHERS:
        message = f"{MAX_PUBLISHERS} publishers are delegated to, which is as many as gateways look at"
        raise TrustError(message, "revoke one, or let one key sign for more names")
    row = {
        "name": publisher.name, "tenant": actor.tenant, "key_id": signing.key_name(publisher.key),
        "pem": keys.public_pem(publisher.key), "patterns": list(publisher.patterns), "delegated_us": now_us,
    }  # fmt: skip
    connection.execute(insert(publishers).values(row))
    _put_delegations(
        connection, listing, (*listing.delegations, publisher), targets=targets, online=online, now_us=now_us
    )
    detail = {"key": signing.key_name(publisher.key), "patterns": " ".join(publisher.patterns)}
    audit.append(connection, actor, Entry("publisher delegated", publisher.name, detail=detail), now_us)


def revoke(
    connection: Connection, name: str, targets: PrivateKey, online: PrivateKey, *, actor: Actor, now_us: int
) -> None:
    """Let a publisher's key sign nothing any more. What runs keeps running; its floors hold.

    Raises:
        TrustError: no such publisher, or the wrong keys.
    """
    repository.lock(connection)
    listing = _listing(connection, targets)
    left = tuple(each for each in listing.delegations if each.name != name)
    if len(left) == len(listing.delegations):
        message = f"no publisher {name!r} is delegated to"
        raise TrustError(message, "cloud-hub keys show lists them")
    connection.execute(update(publishers).where(publishers.c.name == name).values(revoked_us=now_us))
    _put_delegations(connection, listing, left, targets=targets, online=online, now_us=now_us)
    audit.append(connection, actor, Entry("publisher revoked", name), now_us)


def rotate(
    connection: Connection, roots: Sequence[PrivateKey], online: PrivateKey, *, targets: PrivateKey | None = None,
    actor: Actor, now_us: int,
) -> None:  # fmt: skip
    """Name a new online key in the next roots, and sign with it all that the one before has signed.

    With the targets key the delegations are signed for another year too.

    Raises:
        TrustError: updates are off, or the keys are not those of this hub.
    """
    repository.lock(connection)
    for where in (MODELS, DIRECTORS):
        before = repository.need(connection, where, ROOT)
        named = signing.open_keys(before)
        above = named.targets if where is MODELS else online.public_key()
        version = signing.open_stamp(before).version + 1
        named = Keys(named.root, above, online.public_key())
        _put_root(connection, where, named, version=version, signers=roots, now_us=now_us)
        signing.verify_root(repository.need(connection, where, ROOT), before)
    if targets is not None:
        listing = _listing(connection, targets)
        stamp = Stamp(listing.stamp.version + 1, after(now_us, TARGETS_DAYS))
        _put_targets(connection, Listing(stamp, (), listing.delegations), targets, now_us)
    repository.seal(connection, MODELS, online, now_us)
    for gateway in connection.execute(select(gateways.c.id)).scalars().all():
        director.sign(connection, online, gateway, now_us)
    detail = {"online": signing.key_name(online.public_key())}
    audit.append(connection, actor, Entry("online key rotated", "updates", detail=detail), now_us)


def _put_root(
    connection: Connection, where: Repository, named: Keys, *, version: int, signers: Sequence[PrivateKey], now_us: int
) -> None:
    raw = signing.make_root(named, Stamp(version, after(now_us, ROOT_DAYS)), where.mark(ROOT), signers)
    repository.put(connection, where, ROOT, raw, now_us)


def _put_targets(connection: Connection, listing: Listing, key: PrivateKey, now_us: int) -> None:
    repository.put(connection, MODELS, TARGETS, signing.make_listing(listing, MODELS.mark(TARGETS), key), now_us)


def _put_delegations(
    connection: Connection, before: Listing, delegations: Sequence[Delegation], *, targets: PrivateKey,
    online: PrivateKey, now_us: int,
) -> None:  # fmt: skip
    stamp = Stamp(before.stamp.version + 1, after(now_us, TARGETS_DAYS))
    _put_targets(connection, Listing(stamp, (), tuple(delegations)), targets, now_us)
    repository.seal(connection, MODELS, online, now_us)


def _listing(connection: Connection, key: PrivateKey) -> Listing:
    """The `targets` of today, if this is the key to sign the next with."""
    named: PublicKey = signing.open_keys(repository.need(connection, MODELS, ROOT)).targets
    if signing.key_name(named) != signing.key_name(key.public_key()):
        message = "the targets key in this folder is not the one of this hub"
        raise TrustError(message, "bring the folder that cloud-hub keys init has made for it")
    return signing.open_listing(repository.need(connection, MODELS, TARGETS))


def _check_publisher(connection: Connection, publisher: Delegation) -> None:
    if _NAME.fullmatch(publisher.name) is None:
        message = f"{publisher.name[:60]!r} is not a publisher's name"
        raise TrustError(message, "1 to 40 of a-z, 0-9 and hyphen, hyphens inside only")
    wrong = next((pattern for pattern in publisher.patterns if _PATTERN.fullmatch(pattern) is None), None)
    if wrong is not None or not publisher.patterns:
        message = f"{wrong!r} is not a pattern of bundle names"
        raise TrustError(message, "a bundle's name, or with * and ?, as 'surface-*'")
    same = (publishers.c.name == publisher.name) | (publishers.c.key_id == signing.key_name(publisher.key))
    known = connection.execute(select(publishers).where(same)).first()
    if known is not None:
        state = "was revoked" if known.revoked_us is not None else "is delegated to"
        message = f"publisher {known.name} {state} with key {known.key_id[:12]}"
        raise TrustError(message, "make a new key (cloud-hub keys new) and give it another name")
