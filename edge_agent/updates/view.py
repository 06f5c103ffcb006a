"""What a gateway trusts, for people: sets on its disk and floors come in, who may say what and what follows goes out.

Reads only, in a scratch folder outside of the data directory; the agent may be running.
"""

import tempfile
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from edge_agent.updates.floors import Floors
from edge_agent.updates.trust import REPOSITORIES, agreed, anchor_of, read_set
from edge_agent.updates.verified import Role, Verified
from edge_protocol.agreement import Wanted
from edge_protocol.errors import DecodeError
from edge_protocol.updates import UpdateRefused

_NEVER = "nothing was taken yet"


class RoleView(msgspec.Struct, frozen=True):
    """A role of a repository: which version is trusted, until when newer gateways would take it, whose keys count."""

    repository: str
    role: str
    version: int
    expires: str
    is_expired: bool
    threshold: int
    keys: tuple[str, ...]
    paths: tuple[str, ...]


class RepositoryView(msgspec.Struct, frozen=True):
    """A repository: the first root it is trusted by, how many releases it names, and what is wrong with it."""

    repository: str
    anchor: str
    releases: int = 0
    problem: str = ""


class PipelineView(msgspec.Struct, frozen=True):
    """What a pipeline should run by both repositories, or why not; both empty when the director does not name it."""

    pipeline: str
    bundle: str = ""
    version: str = ""
    digest: str = ""
    rollout: str = ""
    refusal: str = ""
    detail: str = ""


class TrustView(msgspec.Struct, frozen=True):
    """All of it."""

    repositories: tuple[RepositoryView, ...]
    roles: tuple[RoleView, ...]
    silent: dict[str, tuple[str, ...]]
    floors: dict[str, str]
    pipelines: tuple[PipelineView, ...]


def look(
    folder: Path, roots: Mapping[str, bytes], known: Floors, *, gateway: str, pipelines: Collection[str], now_us: int
) -> TrustView:
    """What the sets in `folder` prove by these first roots and above these floors.

    Raises:
        OSError: the sets cannot be read.
    """
    views: dict[str, Verified] = {}
    repositories = []
    for repository in REPOSITORIES:
        found = _verify(folder, repository, roots[repository], gateway, known)
        anchor = anchor_of(roots[repository])
        if isinstance(found, Verified):
            views[repository] = found
            repositories.append(RepositoryView(repository, anchor, len(found.targets)))
        else:
            repositories.append(RepositoryView(repository, anchor, problem=found))
    rulings = agreed(views, known, gateway, pipelines)
    return TrustView(
        tuple(repositories),
        tuple(_role(view.repository, role, now_us) for view in views.values() for role in view.roles.values()),
        {name: paths for view in views.values() for name, paths in view.silent.items()},
        dict(sorted(known.bundles.items())),
        tuple(_pipeline(name, rulings.get(name)) for name in pipelines),
    )


def _verify(folder: Path, repository: str, root: bytes, gateway: str, known: Floors) -> Verified | str:
    from edge_agent.updates.verification import verify

    try:
        files = read_set(folder, repository)
        with tempfile.TemporaryDirectory(prefix="lineside-") as scratch:
            found = verify(repository, gateway, root, files, scratch=Path(scratch) / "set")
        known.check(found, anchor_of(root))
    except FileNotFoundError:
        return _NEVER
    except (UpdateRefused, DecodeError) as error:
        return str(error)
    return found


def _role(repository: str, role: Role, now_us: int) -> RoleView:
    return RoleView(
        repository,
        role.name,
        role.version,
        datetime.fromtimestamp(role.expires_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        role.expires_us <= now_us,
        role.threshold,
        role.keys,
        role.paths,
    )


def _pipeline(name: str, ruling: Wanted | UpdateRefused | None) -> PipelineView:
    match ruling:
        case Wanted():
            return PipelineView(name, ruling.bundle, ruling.version, ruling.digest, ruling.rollout)
        case UpdateRefused():
            return PipelineView(name, refusal=ruling.refusal.value, detail=ruling.detail)
        case _:
            return PipelineView(name)
