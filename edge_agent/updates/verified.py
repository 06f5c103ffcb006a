"""What the signatures of a metadata set have proved, as plain values. Made by `verification` only."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from edge_protocol.agreement import Target
from edge_protocol.updates import Refusal, UpdateRefused


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

    `silent` are publishers whose part has expired and was not taken, with the patterns of what they may sign.
    """

    repository: str
    files: Mapping[str, bytes]
    roles: Mapping[str, Role]
    targets: Mapping[str, Target]
    silent: Mapping[str, tuple[str, ...]]

    @property
    def expires_us(self) -> int:
        """When the first of its roles expires: until then the same set proves the same."""
        return min(role.expires_us for role in self.roles.values())

    def target(self, path: str) -> Target | UpdateRefused | None:
        """The target at `path`, or why the publisher that would sign it is not heard."""
        if path in self.targets:
            return self.targets[path]
        for name, patterns in self.silent.items():
            if any(_covers(pattern, path) for pattern in patterns):
                return UpdateRefused(Refusal.EXPIRED, f"what {name} has signed has expired")
        return None


def _covers(pattern: str, path: str) -> bool:
    """As TUF has it: a wildcard never reaches over a slash."""
    wanted, parts = pattern.split("/"), path.split("/")
    return len(wanted) == len(parts) and all(map(fnmatchcase, parts, wanted))
