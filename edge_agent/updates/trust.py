"""Metadata sets of both repositories come in, what each pipeline shall run goes out, proved by signatures.

A set that is taken is one file, safe on disk before the floors are raised and before anything acts on it; a set that
is refused changes nothing. Belongs to one thread.
"""

import errno
import hashlib
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from edge_agent import durable
from edge_agent.clock import Clock
from edge_agent.errors import StoreError
from edge_agent.store import Store
from edge_agent.updates import floors
from edge_agent.updates.floors import Floors
from edge_agent.updates.verified import Verified
from edge_protocol import metadata, points
from edge_protocol.agreement import Target, Wanted, agree
from edge_protocol.errors import DecodeError
from edge_protocol.metadata import DIRECTOR, MODELS
from edge_protocol.points import WantedPoint
from edge_protocol.updates import Refusal, UpdateRefused

FOLDER = "trust"
"""In the data directory."""

REPOSITORIES = (MODELS, DIRECTOR)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Trust:
    """What this gateway has verified and never goes back behind."""

    def __init__(  # noqa: PLR0917 (in the order of what is trusted)
        self,
        folder: Path,
        roots: Mapping[str, bytes],
        store: Store,
        clock: Clock,
        gateway: str,
        pipelines: Collection[str],
        *,
        record: durable.Recorder | None = None,
    ) -> None:
        """`roots` are the first roots by repository, as `load_roots` reads them; `record` is told each durable step."""
        self._folder = folder
        self._roots = roots
        self._store = store
        self._clock = clock
        self._gateway = gateway
        self._pipelines = tuple(pipelines)
        self._record = record
        self._anchors = {name: anchor_of(root) for name, root in roots.items()}
        self._views: dict[str, Verified] | None = None
        self._last: dict[str, bytes] = {}
        self._floors = Floors({}, {})

    def take(self, repository: str, files: Mapping[str, bytes]) -> None:
        """Verify a set and make it the one that counts.

        Raises:
            UpdateRefused: it is not taken; nothing has changed.
            StoreError: the disk or the database cannot be written; the set may be taken again.
        """
        views = self._loaded()
        before = views.get(repository)
        digest, now_us = _digest(files), self._now_us()
        # The hub repeats itself every minute, and a set of many releases is work for a core.
        if before is not None and self._last.get(repository) == digest and now_us < before.expires_us:
            return
        try:
            after = self._verify(repository, files, before.files if before else {}, now_us)
            self._floors.check(after, self._anchors[repository])
            if before is None or after.files != before.files:
                durable.make_folder(self._folder, record=self._record)
                durable.write_file(set_file(self._folder, repository), metadata.pack(after.files), record=self._record)
        except OSError as error:
            raise _unwritten(self._folder, error) from error
        self._floors = floors.raise_to(self._store, self._floors, after, self._anchors[repository])
        views[repository], self._last[repository] = after, digest

    def wanted(self) -> dict[str, Wanted | UpdateRefused]:
        """What each pipeline that the director names shall run, or why not; nothing until both have spoken.

        Raises:
            StoreError: the database cannot be read.
        """
        return agreed(self._loaded(), self._floors, self._gateway, self._pipelines)

    def points(self) -> dict[str, WantedPoint | UpdateRefused] | None:
        """What each pipeline that the director names so shall judge by, or why not; None until both have spoken.

        Not the same as nothing: what is named no more is given up, what nobody has spoken of yet is not.

        Raises:
            StoreError: the database cannot be read.
        """
        views = self._loaded()
        models, director = views.get(MODELS), views.get(DIRECTOR)
        if models is None or director is None:
            return None
        published = _published(models, director)
        version = models.roles["snapshot"].version
        return points.agree(self._gateway, self._pipelines, director.targets.values(), published, version)

    def floor(self, bundle: str) -> str:
        """The lowest version of `bundle` that may run; empty when there is none."""
        self._loaded()
        return self._floors.bundles.get(bundle, "")

    def _loaded(self) -> dict[str, Verified]:
        """What was taken before, verified again: what the disk has lost or changed counts as never taken."""
        if self._views is not None:
            return self._views
        with self._store.reading() as connection:
            self._floors = floors.read(connection)
        views: dict[str, Verified] = {}
        for repository in REPOSITORIES:
            with suppress(UpdateRefused, DecodeError, FileNotFoundError):
                try:
                    view = self._verify(repository, read_set(self._folder, repository))
                except FileNotFoundError:
                    raise
                except OSError as error:
                    raise _unwritten(self._folder, error) from error
                self._floors.check(view, self._anchors[repository])
                # The power may have gone between the file and the floors.
                self._floors = floors.raise_to(self._store, self._floors, view, self._anchors[repository])
                views[repository] = view
        self._views = views
        return views

    def _verify(
        self,
        repository: str,
        files: Mapping[str, bytes],
        held: Mapping[str, bytes] | None = None,
        now_us: int | None = None,
    ) -> Verified:
        # python-tuf is long to import: only a gateway that is told of releases carries it.
        from edge_agent.updates.verification import verify

        scratch = self._folder / ".draft"
        root = self._roots[repository]
        try:
            return verify(repository, self._gateway, root, files, scratch=scratch, held=held, now_us=now_us)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _now_us(self) -> int:
        """The clock, but never before a time that has surely passed."""
        return max(self._clock.wall_us(), self._clock.floor_us)


def agreed(
    views: Mapping[str, Verified], known: Floors, gateway: str, pipelines: Collection[str]
) -> dict[str, Wanted | UpdateRefused]:
    """The rule of agreement over two verified sets; nothing while one is missing."""
    models, director = views.get(MODELS), views.get(DIRECTOR)
    if models is None or director is None:
        return {}
    version = models.roles["snapshot"].version
    published = _published(models, director)
    return agree(gateway, pipelines, director.targets.values(), published, known.bundles, version)


def load_roots(models: Path, director: Path) -> dict[str, bytes] | None:
    """The first roots that enrolment has left; None when one is not there: then nothing can be trusted.

    Raises:
        OSError: one is there and cannot be read.
    """
    try:
        return {MODELS: models.read_bytes(), DIRECTOR: director.read_bytes()}
    except FileNotFoundError:
        return None


def anchor_of(root: bytes) -> str:
    """What a chain of roots is called in the floors: the digest of its first, shortened."""
    return hashlib.sha256(root).hexdigest()[:16]


def set_file(folder: Path, repository: str) -> Path:
    """Where the set of a repository lies."""
    return folder / f"{repository}.set"


def read_set(folder: Path, repository: str) -> dict[str, bytes]:
    """The files of the set that lies there.

    Raises:
        FileNotFoundError: there is none yet.
        DecodeError: it is not whole.
    """
    return metadata.unpack(set_file(folder, repository).read_bytes())


def _published(models: Verified, director: Verified) -> dict[str, Target | UpdateRefused]:
    """What publishers say of each target of the director."""
    return {path: target for path in director.targets if (target := models.target(path)) is not None}


def _digest(files: Mapping[str, bytes]) -> bytes:
    whole = hashlib.sha256()
    for name, data in sorted(files.items()):
        whole.update(f"{name} {len(data)}\n".encode() + data)
    return whole.digest()


def _unwritten(folder: Path, error: OSError) -> UpdateRefused | StoreError:
    if error.errno in _NO_ROOM:
        return UpdateRefused(Refusal.OUT_OF_SPACE, f"no room for metadata in {folder}")
    message = f"{folder} cannot be written: {error.strerror}"
    return StoreError(message, "let the agent's user own the data directory, and check the disk")
