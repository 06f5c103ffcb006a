"""Both repositories as their owners keep them, with real keys: what attacks are made from.

Built with python-tuf's metadata API, never with the hub's own signing: a mistake there must not hide here.
"""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from edge_protocol.agreement import Directed, Published, path_of

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NOW_US = round(NOW.timestamp() * 1e6)
DAY = timedelta(days=1)
DAY_US = 86_400_000_000
TOP = ("root", "timestamp", "snapshot", "targets")
LIVES = {"root": 365, "targets": 365, "snapshot": 30, "timestamp": 7}
PUBLISHER_DAYS = 180

RELEASE = json.dumps({"name": "surface", "version": "1.0.0"}).encode()


def new_key() -> CryptoSigner:
    """A key that signs."""
    return CryptoSigner.generate_ed25519()


@dataclass
class Publisher:
    """A delegated role: its keys, what it may sign and what it has signed."""

    keys: list[CryptoSigner]
    paths: tuple[str, ...] = ("surface/*/manifest.json",)
    threshold: int = 1
    terminating: bool = True
    targets: dict[str, TargetFile] = field(default_factory=dict)
    version: int = 1
    delegations: Delegations | None = None
    signed_by: list[CryptoSigner] | None = None

    def release(self, version: str, *, name: str = "surface", manifest: bytes = RELEASE, **custom: object) -> str:
        """Publish a release; its path."""
        path = path_of(name, version)
        self.targets[path] = target(path, manifest, {"kind": Published().kind, "floor": "", **custom})
        return path


@dataclass
class Repository:
    """One repository with all its keys. Change what is needed, `bump` the versions, then take `files()`."""

    mark: str
    root_mark: str
    keys: dict[str, list[CryptoSigner]]
    threshold: dict[str, int] = field(default_factory=lambda: {"root": 2})
    publishers: dict[str, Publisher] = field(default_factory=dict)
    targets: dict[str, TargetFile] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TOP, 1))
    expires: dict[str, datetime] = field(default_factory=dict)
    signed_by: dict[str, list[CryptoSigner]] = field(default_factory=dict)
    roots: dict[str, bytes] = field(default_factory=dict)
    unlisted: set[str] = field(default_factory=set)
    revoked: set[str] = field(default_factory=set)
    hashed: bool = False

    def __post_init__(self) -> None:
        self._root(self.keys["root"])

    @property
    def first_root(self) -> bytes:
        """What a gateway is given when it is enrolled."""
        return self.roots["1.root.json"]

    def rotate(self, **keys: list[CryptoSigner]) -> None:
        """A new root that gives these roles other keys, signed by the old root's keys and the new one's."""
        before = self.keys["root"]
        self.keys |= keys
        self.versions["root"] += 1
        self._root([*before, *(key for key in self.keys["root"] if key not in before)])

    def bump(self, *roles: str) -> None:
        """Raise the versions of what changed, and of snapshot and timestamp, which follow."""
        for role in dict.fromkeys((*roles, "snapshot", "timestamp")):
            if role in self.publishers:
                self.publishers[role].version += 1
            else:
                self.versions[role] += 1

    def files(self) -> dict[str, bytes]:
        """The whole set, as a hub would send it."""
        found = dict(self.roots)
        parts = {"targets": self._targets(), **{name: self._publisher(name) for name in self.publishers}}
        meta = {}
        for name, (version, data) in parts.items():
            if name in self.unlisted:
                continue
            found[f"{version}.{name}.json"] = data
            meta[f"{name}.json"] = self._meta(version, data)
        snapshot = self._sign(
            "snapshot", Snapshot(self.versions["snapshot"], expires=self._until("snapshot"), meta=meta)
        )
        found[f"{self.versions['snapshot']}.snapshot.json"] = snapshot
        stamp = Timestamp(
            self.versions["timestamp"],
            expires=self._until("timestamp"),
            snapshot_meta=self._meta(self.versions["snapshot"], snapshot),
        )
        found["timestamp.json"] = self._sign("timestamp", stamp)
        return found

    def _meta(self, version: int, data: bytes) -> MetaFile:
        if not self.hashed:
            return MetaFile(version)
        return MetaFile(version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})

    def _root(self, signers: list[CryptoSigner]) -> None:
        root = Root(self.versions["root"], expires=self._until("root"), consistent_snapshot=True)
        for role in TOP:
            root.roles[role] = Role([], self.threshold.get(role, 1))
            for key in self.keys[role]:
                root.add_key(key.public_key, role)
        root.unrecognized_fields["x-repository"] = self.root_mark
        self.roots[f"{self.versions['root']}.root.json"] = _signed(root, signers)

    def _targets(self) -> tuple[int, bytes]:
        targets = Targets(self.versions["targets"], expires=self._until("targets"), targets=self.targets)
        heard = {name: each for name, each in self.publishers.items() if name not in self.revoked}
        if heard:
            targets.delegations = delegations(heard)
        return targets.version, self._sign("targets", targets)

    def _publisher(self, name: str) -> tuple[int, bytes]:
        publisher = self.publishers[name]
        until = self.expires.get(name, NOW + PUBLISHER_DAYS * DAY)
        part = Targets(publisher.version, expires=until, targets=publisher.targets, delegations=publisher.delegations)
        return publisher.version, _signed(part, publisher.signed_by or publisher.keys)

    def _sign(self, role: str, part: Signed) -> bytes:
        part.unrecognized_fields["x-repository"] = self.mark
        return _signed(part, self.signed_by.get(role, self.keys[role]))

    def _until(self, role: str) -> datetime:
        return self.expires.get(role, NOW + LIVES[role] * DAY)


class House:
    """Who is who: three root keys, an offline key, the hub's online key, a publisher; both repositories of press-1."""

    def __init__(self) -> None:
        self.root_keys = [new_key() for _ in range(3)]
        self.offline, self.online, self.publisher_key = new_key(), new_key(), new_key()
        self.models = Repository("models", "models", self._keys(self.offline))
        self.models.publishers["pub-acme"] = Publisher([self.publisher_key])
        self.director = self.director_of("press-1")
        self.publisher.release("1.0.0")
        self.name("1.0.0")

    @property
    def publisher(self) -> Publisher:
        """The one publisher there is at first."""
        return self.models.publishers["pub-acme"]

    def director_of(self, gateway: str) -> Repository:
        """The director's repository of a gateway, with the same keys as that of any other."""
        return Repository(f"director/{gateway}", "director", self._keys(self.online))

    def name(self, version: str, *, manifest: bytes = RELEASE, **custom: object) -> None:
        """Let the director of press-1 name a release, and only that."""
        said = Directed(gateway="press-1", pipelines=("a",), rollout="r-1", models=self.models.versions["snapshot"])
        path = path_of("surface", version)
        fields = {name: getattr(said, name) for name in said.__struct_fields__} | {"pipelines": ["a"]}
        self.director.targets = {path: target(path, manifest, {**fields, **custom})}

    def _keys(self, targets: CryptoSigner) -> dict[str, list[CryptoSigner]]:
        online = [self.online]
        return {"root": list(self.root_keys), "timestamp": online, "snapshot": online, "targets": [targets]}


def target(path: str, manifest: bytes, custom: dict[str, object]) -> TargetFile:
    """A target as it stands in the metadata of both repositories."""
    return TargetFile(len(manifest), {"sha256": hashlib.sha256(manifest).hexdigest()}, path, {"custom": custom})


def delegations(publishers: dict[str, Publisher]) -> Delegations:
    """Who may sign which paths."""
    keys = {key.public_key.keyid: key.public_key for each in publishers.values() for key in each.keys}
    roles = {
        name: DelegatedRole(
            name,
            [k.public_key.keyid for k in each.keys],
            each.threshold,
            terminating=each.terminating,
            paths=list(each.paths),
        )
        for name, each in publishers.items()
    }
    return Delegations(keys, roles)


def _signed(part: Signed, signers: list[CryptoSigner]) -> bytes:
    whole: Metadata[Signed] = Metadata(part)
    for signer in signers:
        whole.sign(signer, append=True)
    return whole.to_bytes()
