"""What the signatures of a metadata set have proved, as plain values. Made by `verification` only."""

from collections.abc import Mapping
from dataclasses import dataclass

from edge_protocol.agreement import Target
from edge_protocol.updates import UpdateRefused


@dataclass(frozen=True, slots=True)
class Role:
    """A role whose metadata was verified: who may sign it, who did, and what it says of itself."""

    name: str
    version: int
    expires_us: int
    keys: tuple[str, ...]
    signers: tuple[str, ...]
    threshold: int
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verified:
    """A whole set that was verified, and only what was: its files, its roles, its targets by path.

    A target stands as its refusal when its publisher's part has expired.
    """

    repository: str
    files: Mapping[str, bytes]
    roles: Mapping[str, Role]
    targets: Mapping[str, Target | UpdateRefused]

    @property
    def named(self) -> tuple[Target, ...]:
        """The targets that hold."""
        return tuple(target for target in self.targets.values() if isinstance(target, Target))
