"""A metadata set comes in as bytes, what its signatures prove goes out; what they do not prove is refused by name.

The only file that runs python-tuf's updater, in a scratch folder of its own. Nothing here is kept: `trust` does that.
"""

import json
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root, TargetFile, Targets
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
    targets_max_length=5_000_000,
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
    now_us: int | None = None,
) -> Verified:
    """What `files` prove, from the trusted first `root` on; `held` is the set that was taken before.

    Without `now_us` nothing has expired: so a set is read again that was taken in its time, as much of it as was.

    Raises:
        UpdateRefused: under the name for what is wrong.
        OSError: the scratch folder cannot be written.
    """
    held = held or {}
    _check_marks(repository, gateway, {**files, "root.json": root})
    # A root that is held goes first: nobody can put another in its place.
    known = {**files, **{name: data for name, data in held.items() if name.endswith(".root.json")}}
    _lay_out(scratch, held)
    with _named():
        limits = (LIMITS.root_max_length, LIMITS.timestamp_max_length, LIMITS.snapshot_max_length)
        fetcher = SetFetcher(known, (*limits, LIMITS.targets_max_length))
        updater = Updater(str(scratch), "set:/", fetcher=fetcher, config=LIMITS, bootstrap=root)
        # There is no public way to say what time it is; `test_verification` pins this one.
        updater._trusted_set.reference_time = _moment(_NEVER_US if now_us is None else now_us)  # noqa: SLF001
        updater.refresh()
        publishers, silent = _load_publishers(updater, repository, known.keys() if now_us is None else None)
        targets = _targets({name: _read(scratch, name).signed for name in (Targets.type, *publishers)}, silent)
        return Verified(repository, *_proved(scratch, publishers), targets, silent)


def _moment(us: int) -> datetime:
    return datetime.fromtimestamp(min(us, _LATEST_US) / 1e6, UTC)


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


def _load_publishers(
    updater: Updater, repository: str, there: Collection[str] | None
) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Verify the part of each publisher: those that may be heard, and those that have expired, with their patterns.

    An expired publisher silences itself alone: nobody else's releases wait for it. Of a set that is read again only
    the files that are `there` were taken.
    """
    # Which roles there are has no public way either; pinned by the same test.
    trusted = updater._trusted_set  # noqa: SLF001
    delegations = trusted.targets.delegations
    if delegations is None or not delegations.roles:
        return [], {}
    if repository == DIRECTOR:
        raise UpdateRefused(Refusal.NOT_TRUSTED, "the director has delegated what it may not")
    if len(delegations.roles) > MAX_ROLES:
        raise UpdateRefused(Refusal.TOO_LARGE, f"the set has more than {MAX_ROLES} publishers")
    heard, silent = [], {}
    for name, role in delegations.roles.items():
        meta = trusted.snapshot.meta.get(f"{name}.json")
        if meta is None:
            continue  # It has not signed anything yet.
        was_taken = there is None or f"{meta.version}.{name}.json" in there
        with suppress(exceptions.ExpiredMetadataError):
            if was_taken:
                updater._load_targets(name, Targets.type)  # noqa: SLF001
                heard.append(name)
                continue
        silent[name] = tuple(role.paths or ())
    return heard, silent


def _targets(parts: Mapping[str, Targets], silent: Collection[str]) -> dict[str, Target]:
    """Every target that its part may speak for: the first part in the order of delegation that may, decides.

    Publishers delegate no further: what a delegate of theirs has signed is not looked at.
    """
    top = parts[Targets.type]
    found = {path: _target(path, info) for path, info in top.targets.items()}
    for path in {path for part in parts.values() for path in part.targets} - set(found):
        for name, is_last in top.delegations.get_roles_for_target(path) if top.delegations else ():
            info = parts[name].targets.get(path) if name in parts else None
            if info is not None:
                found[path] = _target(path, info)
            if info is not None or is_last or name in silent:
                break
    return found


def _target(path: str, info: TargetFile) -> Target:
    sha256 = info.hashes.get("sha256", "")
    custom = info.custom
    return Target(
        path, sha256 if _SHA256.fullmatch(sha256) else "", info.length, custom if isinstance(custom, dict) else {}
    )


def _proved(scratch: Path, publishers: Iterable[str]) -> tuple[dict[str, bytes], dict[str, Role]]:
    """The files that the updater has left in its folder, by their names in a set, and their roles."""
    roots = {path.name: path.read_bytes() for path in (scratch / "root_history").iterdir()}
    root = Metadata[Root].from_bytes(roots[max(roots, key=lambda name: int(name.partition(".")[0]))])
    targets = _read(scratch, Targets.type).signed
    files, roles = dict(roots), {"root": _role("root", root, root.signed)}
    for name in (*_TOP, *publishers):
        role = roles[name] = _role(name, _read(scratch, name), root.signed if name in _TOP else targets)
        file = f"{name}.json" if name == "timestamp" else f"{role.version}.{name}.json"
        files[file] = (scratch / f"{name}.json").read_bytes()
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


def _read(scratch: Path, role: str) -> Metadata[Any]:
    return Metadata.from_bytes((scratch / f"{role}.json").read_bytes())


def _role_of(name: str) -> str:
    """The role a file of a set is of: `pub-acme` for `12.pub-acme.json`."""
    match = _NAME.fullmatch(name)
    return match[2] if match else name


@contextmanager
def _named() -> Iterator[None]:
    """Whatever the updater raises, as a refusal; what the disk raises, as it is."""
    try:
        yield
    except (UpdateRefused, OSError):
        raise
    except Exception as error:
        refusal = next(refusal for kind, refusal in REFUSALS if isinstance(error, kind))
        text = " ".join(str(error).split())[:200]
        raise UpdateRefused(refusal, text or type(error).__name__) from error
