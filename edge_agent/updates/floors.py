"""What this gateway never goes back behind: versions of roles and floors of bundle names, as rows of the database.

They are raised after a set is safe on disk and before anything acts on it, so that no lost file and no old set that is
played back can undo what was once seen.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from edge_agent.store import Connection, Store, fetch
from edge_agent.updates.verified import Role, Verified
from edge_protocol.agreement import floors as stated_floors
from edge_protocol.agreement import highest, parse_version
from edge_protocol.metadata import MODELS
from edge_protocol.updates import Refusal, UpdateRefused

_ROLE, _BUNDLE = "role", "bundle"


class RoleFloor(msgspec.Struct, frozen=True):
    """The highest version of a role that was seen, and the keys it was signed with."""

    version: int
    signers: tuple[str, ...] = ()

    def holds(self, role: Role) -> bool:
        """Whether those keys could still sign this role.

        If not, they were rotated away: what a thief has signed with them binds nobody any more. A root's floor has no
        keys and always holds.
        """
        return not self.signers or len(set(self.signers) & set(role.keys)) >= role.threshold


@dataclass(frozen=True, slots=True)
class Floors:
    """All floors at one moment: of roles by `<repository>/<role>`, of bundles by their name."""

    roles: Mapping[str, RoleFloor]
    bundles: Mapping[str, str]

    def check(self, verified: Verified, anchor: str) -> None:
        """Refuse what is older than what was seen.

        Raises:
            UpdateRefused: STALE.
        """
        for role in verified.roles.values():
            floor = self.roles.get(_name(verified, role, anchor))
            if floor is not None and role.version < floor.version and floor.holds(role):
                detail = f"{role.name} of {verified.repository} is version {role.version}, {floor.version} was seen"
                raise UpdateRefused(Refusal.STALE, detail)


def read(connection: Connection) -> Floors:
    """The floors in a database, the agent's own connection or one that only reads.

    A row that a damaged page has made unreadable states none: the set on disk states it again.
    """
    roles: dict[str, RoleFloor] = {}
    bundles: dict[str, str] = {}
    for kind, name, value in fetch(connection, "SELECT kind, name, value FROM floors"):
        with suppress(msgspec.DecodeError, ValueError):
            if kind == _ROLE:
                roles[name] = msgspec.json.decode(value, type=RoleFloor)
            elif kind == _BUNDLE:
                parse_version(value)
                bundles[name] = value
    return Floors(roles, bundles)


def raise_to(store: Store, before: Floors, verified: Verified, anchor: str) -> Floors:
    """Write down what `verified` says where it is above `before`: one transaction, none when nothing is.

    Raises:
        StoreError: nothing was written.
    """
    roles = dict(before.roles)
    for role in verified.roles.values():
        name = _name(verified, role, anchor)
        floor = roles.get(name)
        if floor is None or role.version > floor.version or not floor.holds(role):
            roles[name] = RoleFloor(role.version, () if role.name == "root" else role.signers)
    bundles = dict(before.bundles)
    # The director speaks of bundles too, but only a publisher has a say in floors.
    stated = stated_floors(verified.targets.values()) if verified.repository == MODELS else {}
    for bundle, version in stated.items():
        bundles[bundle] = highest(bundles.get(bundle, ""), version)
    rows = [*_changed(_ROLE, before.roles, roles), *_changed(_BUNDLE, before.bundles, bundles)]
    if rows:
        with store.transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO floors VALUES (?, ?, ?)", rows)
    return Floors(roles, bundles)


def _changed(
    kind: str, before: Mapping[str, RoleFloor | str], after: Mapping[str, RoleFloor | str]
) -> Collection[tuple[str, str, str]]:
    changed = {name: value for name, value in after.items() if before.get(name) != value}
    return [
        (kind, name, value if isinstance(value, str) else msgspec.json.encode(value).decode())
        for name, value in changed.items()
    ]


def _name(verified: Verified, role: Role, anchor: str) -> str:
    """A root's floor counts from the root it was enrolled with: another enrolment begins another chain."""
    name = f"{verified.repository}/{role.name}"
    return f"{name}/{anchor}" if role.name == "root" else name
