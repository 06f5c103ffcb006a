"""A metadata set comes in as bytes, what its signatures prove goes out; what they do not prove is refused by name.

The only file that runs python-tuf's updater, in a scratch folder of its own. Nothing here is kept: `trust` does that.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets
from tuf.api.serialization import DeserializationError
from tuf.ngclient import Updater, UpdaterConfig

from edge_agent.updates.fetcher import SetFetcher
from edge_agent.updates.verified import Role, Verified
from edge_protocol.agreement import Target
from edge_protocol.metadata import DIRECTOR, MARK, mark
from edge_protocol.updates import Refusal, UpdateRefused

MAX_ROLES = 64
"""Publishers of one set; the updater would follow as many delegations as somebody writes."""

LIMITS = UpdaterConfig(
    max_root_rotations=256,
    max_delegations=MAX_ROLES,
    root_max_length=64 * 1024,
    timestamp_max_length=16 * 1024,
    snapshot_max_length=256 * 1024,
    targets_max_length=2 * 1024 * 1024,
)

REFUSALS: tuple[tuple[type[Exception], Refusal], ...] = (
    (exceptions.ExpiredMetadataError, Refusal.EXPIRED),
    (exceptions.UnsignedMetadataError, Refusal.NOT_TRUSTED),
    (exceptions.BadVersionNumberError, Refusal.STALE),
    (exceptions.LengthOrHashMismatchError, Refusal.TAMPERED),
    (exceptions.DownloadLengthMismatchError, Refusal.TOO_LARGE),
    (exceptions.DownloadHTTPError, Refusal.STALE),
    (DeserializationError, Refusal.TAMPERED),
    (Exception, Refusal.TAMPERED),
)
"""Our name for what python-tuf says, the first that fits. A set without one of its files is a mixture of two: stale."""

_TOP = ("timestamp", "snapshot", "targets")
_NAME = re.compile(r"(?:(\d+)\.)?(.+)\.json")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NEVER_US = 1_000_000
_LATEST_US = 253_370_764_800_000_000


def verify(
    repository: str,
    gateway: str,
    root: bytes,
    files: Mapping[str, bytes],
    *,
    scratch: Path,
    held: Mapping[str, bytes] | None = None,
    now_us: int = _NEVER_US,
) -> Verified:
    """What `files` prove, from the trusted first `root` on; `held` is the set that was taken before.

    Without `now_us` nothing has expired: so a set is read again that was taken in its time.

    Raises:
        UpdateRefused: under the name for what is wrong.
        OSError: the scratch folder cannot be written.
    """
    held = held or {}
    _check_marks(repository, gateway, {"root.json": root, **files})
    # A root that is held goes first: nobody can put another in its place.
    known = {**files, **{name: data for name, data in held.items() if name.endswith(".root.json")}}
    if len({_role_of(name) for name in known} - {"root", *_TOP}) > MAX_ROLES:
        raise UpdateRefused(Refusal.TOO_LARGE, f"the set has more than {MAX_ROLES} publishers")
    _lay_out(scratch, held)
    with _named(repository):
        updater = Updater(str(scratch), "set:/", fetcher=SetFetcher(known), config=LIMITS, bootstrap=root)
        # There is no public way to say what time it is; `test_verification` pins this one.
        updater._trusted_set.reference_time = datetime.fromtimestamp(min(now_us, _LATEST_US) / 1e6, UTC)  # noqa: SLF001
        updater.refresh()
        if repository == DIRECTOR and _read(scratch, "targets", Targets).signed.delegations is not None:
            raise UpdateRefused(Refusal.NOT_TRUSTED, "the director has delegated what it may not")
        targets = _targets(updater, known, held)
        return Verified(repository, *_proved(scratch), targets)


def _check_marks(repository: str, gateway: str, files: Mapping[str, bytes]) -> None:
    """Refuse parts of another repository: the same keys sign roles of all of them.

    Before signatures are looked at: a part that says where it belongs and is changed would not verify either.
    """
    for name, data in files.items():
        role = _role_of(name)
        if role not in ("root", *_TOP):
            continue
        try:
            found = json.loads(data)["signed"].get(MARK)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise UpdateRefused(Refusal.TAMPERED, f"{name} of {repository} is no metadata") from error
        wanted = mark(repository, role, gateway)
        if found != wanted:
            raise UpdateRefused(Refusal.NOT_ADDRESSED, f"{name} is of {str(found)[:60]!r}, this is {wanted!r}")


def _lay_out(scratch: Path, held: Mapping[str, bytes]) -> None:
    """The folder as the updater left it when it took `held`."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for name, data in held.items():
        role = _role_of(name)
        if role != "root":
            (scratch / f"{role}.json").write_bytes(data)


def _targets(
    updater: Updater, files: Mapping[str, bytes], held: Mapping[str, bytes]
) -> dict[str, Target | UpdateRefused]:
    """Every target that a role may speak for and does.

    The paths are taken from files that are not yet verified: they are only questions to the updater, which walks the
    delegations to the answer.
    """
    found: dict[str, Target | UpdateRefused] = {}
    for name, data in {**held, **files}.items():
        if _role_of(name) in ("root", "timestamp", "snapshot"):
            continue
        paths = _paths(data)
        for path in paths:
            if isinstance(found.get(path), Target):
                continue
            try:
                info = updater.get_targetinfo(path)
            except exceptions.ExpiredMetadataError:
                # Silences this publisher alone: nobody else's releases wait for it.
                why = UpdateRefused(Refusal.EXPIRED, f"{_role_of(name)} of the publishers has expired")
                found.update(dict.fromkeys(set(paths) - set(found), why))
                break
            if info is not None:
                found[path] = _target(path, info)
    return found


def _paths(data: bytes) -> list[str]:
    try:
        return [str(path) for path in json.loads(data)["signed"]["targets"]]
    except (ValueError, LookupError, TypeError, RecursionError):
        return []


def _target(path: str, info: TargetFile) -> Target:
    sha256 = info.hashes.get("sha256", "")
    custom = info.custom
    return Target(
        path, sha256 if _SHA256.fullmatch(sha256) else "", info.length, custom if isinstance(custom, dict) else {}
    )


def _proved(scratch: Path) -> tuple[dict[str, bytes], dict[str, Role]]:
    """The files that the updater has left in its folder, by their names in a set, and their roles."""
    roots = {path.name: path.read_bytes() for path in (scratch / "root_history").iterdir()}
    root = Metadata[Root].from_bytes(roots[max(roots, key=lambda name: int(name.partition(".")[0]))])
    files, roles = dict(roots), {"root": _role("root", root, root.signed)}
    snapshot, targets = _read(scratch, "snapshot", Snapshot).signed, _read(scratch, "targets", Targets).signed
    delegated = targets.delegations.roles if targets.delegations and targets.delegations.roles else {}
    for name in (*_TOP, *delegated):
        if not (scratch / f"{name}.json").exists():
            continue
        part: Metadata[Any] = Metadata.from_bytes((scratch / f"{name}.json").read_bytes())
        role = _role(name, part, root.signed if name in _TOP else targets)
        meta = snapshot.meta.get(f"{name}.json")
        # A part that was laid out and never asked for may be an old one.
        if len(role.signers) < role.threshold or (meta is not None and meta.version != role.version):
            continue
        file = f"{name}.json" if name == "timestamp" else f"{role.version}.{name}.json"
        files[file], roles[name] = (scratch / f"{name}.json").read_bytes(), role
    return files, roles


def _role(name: str, part: Metadata[Any], delegator: Root | Targets) -> Role:
    delegation = delegator.get_delegated_role(name)
    result = delegator.get_verification_result(name, part.signed_bytes, part.signatures)
    return Role(
        name,
        part.signed.version,
        round(part.signed.expires.replace(tzinfo=UTC).timestamp() * 1e6),
        tuple(sorted(delegation.keyids)),
        tuple(sorted(result.signed)),
        delegation.threshold,
        tuple(getattr(delegation, "paths", None) or ()),
    )


def _read(scratch: Path, role: str, _kind: type[Any]) -> Metadata[Any]:
    return Metadata.from_bytes((scratch / f"{role}.json").read_bytes())


def _role_of(name: str) -> str:
    """The role a file of a set is of: `pub-acme` for `12.pub-acme.json`."""
    match = _NAME.fullmatch(name)
    return match[2] if match else name


@contextmanager
def _named(repository: str) -> Iterator[None]:
    """Whatever the updater raises, as a refusal; what the disk raises, as it is."""
    try:
        yield
    except (UpdateRefused, OSError):
        raise
    except Exception as error:
        refusal = next(refusal for kind, refusal in REFUSALS if isinstance(error, kind))
        text = " ".join(str(error).split())[:200]
        raise UpdateRefused(refusal, f"{repository}: {text or type(error).__name__}") from error
