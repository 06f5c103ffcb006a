"""Operating points that take the place of a bundle's own: what both repositories name comes in, a row and a judging
pipeline go out. A changed threshold is a file of some hundred bytes and no model is loaded for it.

The row is committed before the pipeline judges by it; what the director names no more is gone, and the bundle's own
holds again. Belongs to the thread of updates.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

from edge_agent.inference.pipeline import Override, Pipeline
from edge_agent.store import Store, fetch
from edge_agent.updates.download import Download
from edge_agent.updates.objects import Objects
from edge_protocol import points
from edge_protocol.errors import DecodeError
from edge_protocol.messages import Adjusted
from edge_protocol.points import Point, WantedPoint
from edge_protocol.updates import Refusal, UpdateRefused


@dataclass(frozen=True, slots=True)
class Row:
    """What a pipeline judges by where it is not its bundle's own: the file that was signed, as it is and read."""

    sha256: str
    body: bytes
    point: Point

    @property
    def override(self) -> Override:
        """As a pipeline takes it."""
        return Override(self.point.digest, self.point.operating_point, bytes.fromhex(self.sha256))


def read(store: Store) -> dict[str, Row]:
    """The rows by pipeline. One that is not what was signed any more is none: the director's word brings it back.

    Raises:
        StoreError: as `Store.reading`.
    """
    with store.reading() as connection:
        found = fetch(connection, "SELECT pipeline, sha256, body FROM points")
    rows = {}
    for pipeline, sha256, body in found:
        with suppress(DecodeError):
            rows[pipeline] = _row(sha256, body)
    return rows


def restore(store: Store, pipelines: Mapping[str, Pipeline]) -> None:
    """At a start: let each pipeline judge by its row.

    Raises:
        StoreError: as `Store.reading`.
    """
    for name, row in read(store).items():
        if name in pipelines:
            pipelines[name].judge_by(row.override)


class Points:
    """All pipelines'."""

    def __init__(
        self,
        store: Store,
        pipelines: Mapping[str, Pipeline],
        objects: Objects,
        download: Download,
        tell: Callable[[Adjusted], None],
    ) -> None:
        """`tell` puts a change on the stream of events, in the transaction that it is called in.

        Raises:
            StoreError: the rows cannot be read.
        """
        self._store = store
        self._pipelines = pipelines
        self._objects = objects
        self._download = download
        self._tell = tell
        self._rows = read(store)
        self._named: Mapping[str, WantedPoint | UpdateRefused] | None = None
        self._said: dict[str, tuple[str, str]] = {}
        self._fetched: dict[str, Row] = {}

    @property
    def objects(self) -> Collection[str]:
        """The files that are still wanted."""
        return {each.sha256 for each in (self._named or {}).values() if isinstance(each, WantedPoint)}

    def name(self, named: Mapping[str, WantedPoint | UpdateRefused] | None) -> None:
        """What both repositories name from now on; a pipeline that is not in it judges by its bundle's own.

        None: one has not spoken, or its word was lost; the rows hold.
        """
        self._named = named
        self._fetched = {sha256: row for sha256, row in self._fetched.items() if sha256 in self.objects}

    def step(self) -> bool:
        """Do what can be done; whether anything changed.

        Raises:
            StoreError: it could not be written down; nothing has changed, and it is tried again.
        """
        if self._named is None:
            return False
        changed = [self._settle(name, self._named.get(name)) for name in self._pipelines]
        return any(changed)

    def _settle(self, pipeline: str, said: WantedPoint | UpdateRefused | None) -> bool:
        row = self._rows.get(pipeline)
        if said is None:
            return row is not None and self._drop(pipeline, row)
        if isinstance(said, UpdateRefused):
            return self._refuse(pipeline, None, said)
        is_kept = row is not None and row.sha256 == said.sha256
        try:
            found = row if is_kept else self._fetch(said)
        except UpdateRefused as refused:
            return self._refuse(pipeline, said, refused)
        if found is None:
            return False
        model = self._pipelines[pipeline].model
        if why := points.suits(found.point, model.manifest, model.digest):
            # It may be for the release that comes, or for the one before. What suits neither changes no verdict.
            return self._refuse(pipeline, said, UpdateRefused(Refusal.INCOMPATIBLE, why))
        return not is_kept and self._take(pipeline, found)

    def _fetch(self, said: WantedPoint) -> Row | None:
        """The file that is wanted, once it is here."""
        if said.sha256 in self._fetched:
            return self._fetched[said.sha256]
        # What lies there may have lain there for weeks: a digit that the disk changed is a threshold nobody signed.
        if not self._objects.check(said.sha256):
            if (problem := self._download.problem((said.sha256,))) is not None:
                raise UpdateRefused(problem.refusal, problem.detail)
            self._download.ask({said.sha256: said.length})
            return None
        try:
            row = _row(said.sha256, self._objects.read(said.sha256))
        except DecodeError as error:
            raise UpdateRefused(Refusal.INCOMPATIBLE, str(error)) from error
        point = row.point
        if (point.bundle, point.name, point.version) != (said.bundle, said.name, said.version):
            detail = f"it says of itself that it is {point.name} {point.version} of {point.bundle}"
            raise UpdateRefused(Refusal.INCOMPATIBLE, detail)
        self._fetched[said.sha256] = row
        return row

    def _take(self, pipeline: str, row: Row) -> bool:
        point = row.point
        with self._store.transaction() as connection:
            values = (pipeline, row.sha256, row.body, self._store.clock.wall_us())
            connection.execute("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?)", values)
            self._tell(
                Adjusted(
                    pipeline=pipeline, bundle=point.bundle, name=point.name, version=point.version, digest=row.sha256
                )
            )
        self._rows[pipeline] = row
        self._said.pop(pipeline, None)
        self._pipelines[pipeline].judge_by(row.override)
        return True

    def _drop(self, pipeline: str, row: Row) -> bool:
        with self._store.transaction() as connection:
            connection.execute("DELETE FROM points WHERE pipeline = ?", (pipeline,))
            detail = f"{row.point.name} {row.point.version} is not named any more: the bundle's own holds"
            self._tell(Adjusted(pipeline=pipeline, bundle=row.point.bundle, detail=detail))
        del self._rows[pipeline]
        self._said.pop(pipeline, None)
        self._pipelines[pipeline].judge_by(None)
        return True

    def _refuse(self, pipeline: str, said: WantedPoint | None, refused: UpdateRefused) -> bool:
        """Told once; what was judged by stays."""
        word = (said.sha256 if said is not None else "", refused.refusal.value + refused.detail)
        if self._said.get(pipeline) == word:
            return False
        with self._store.transaction():
            self._tell(
                Adjusted(
                    pipeline=pipeline,
                    bundle=said.bundle if said is not None else "",
                    name=said.name if said is not None else "",
                    version=said.version if said is not None else "",
                    digest=said.sha256 if said is not None else "",
                    refusal=refused.refusal,
                    detail=refused.detail,
                )
            )
        self._said[pipeline] = word
        return True


def _row(sha256: str, body: bytes) -> Row:
    """Raises DecodeError: not the bytes that were signed, or no operating point."""
    if hashlib.sha256(body).hexdigest() != sha256:
        message = f"the bytes are not those of {sha256[:12]}"
        raise DecodeError(message)
    return Row(sha256, body, points.parse(body))
