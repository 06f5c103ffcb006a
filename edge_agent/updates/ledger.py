"""What the database knows of updates: which digest each pipeline runs, which was before, what is refused, what was.

The row of a pipeline is committed before its model changes: after a cut the row decides. Never loads anything.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from edge_agent.store import Connection, Store, fetch
from edge_agent.updates import floors
from edge_protocol.codes import Verdict
from edge_protocol.messages import Update
from edge_protocol.updates import Refusal

KEEP_ROWS = 1000
"""Steps of the past that are kept for the operator."""

_LOOK_BACK_ROWS = 5000
_LATENCIES = 1000

_SLOTS = "SELECT pipeline, digest, bundle, version, previous, phase, since_us, starts, rollout FROM slots"
_STEPS = "SELECT pipeline, step, bundle, version, digest, rollout, refusal, detail, actor FROM updates"


class Phase(StrEnum):
    """How far the model of a slot row is trusted."""

    PROBATION = "probation"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Slot:
    """The row of a pipeline that has ever been updated: what it runs since when, and what it ran before."""

    pipeline: str
    digest: str
    bundle: str
    version: str
    previous: str
    phase: Phase
    since_us: int
    starts: int = 0
    rollout: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a digest is not run. `rollout` is the one that offered it: when another offers it, it is tried again."""

    refusal: Refusal
    detail: str
    rollout: str = field(default="", compare=False)


class Ledger:
    """The tables `slots`, `refused` and `updates`. Every change is one transaction."""

    def __init__(self, store: Store, tell: Callable[[Update], None] = lambda _note: None) -> None:
        """`tell` puts a step on the stream of events, in the transaction that it is called in."""
        self._store = store
        self._tell = tell

    def slots(self) -> dict[str, Slot]:
        """The rows by pipeline.

        Raises:
            StoreError: as `Store.reading`.
        """
        with self._store.reading() as connection:
            rows = [Slot(*row) for row in fetch(connection, _SLOTS)]
        return {row.pipeline: replace(row, phase=Phase(row.phase)) for row in rows}

    def put(self, slot: Slot, *notes: Update, refused: tuple[str, Problem] | None = None) -> None:
        """From now on `slot` is what its pipeline runs; `notes` go into the history with it, `refused` is remembered.

        Raises:
            StoreError: nothing has changed.
        """
        values = (slot.pipeline, slot.digest, slot.bundle, slot.version, slot.previous, slot.phase, slot.since_us)
        with self._store.transaction() as connection:
            sql = "INSERT OR REPLACE INTO slots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            connection.execute(sql, (*values, slot.starts, slot.rollout))
            if refused is not None:
                self.refuse(slot.pipeline, *refused)
            self._note(connection, notes)

    def drop(self, pipeline: str, *notes: Update) -> None:
        """Forget the row of a pipeline: what was placed for it runs again.

        Raises:
            StoreError: nothing has changed.
        """
        with self._store.transaction() as connection:
            connection.execute("DELETE FROM slots WHERE pipeline = ?", (pipeline,))
            self._note(connection, notes)

    def refuse(self, pipeline: str, digest: str, problem: Problem, *notes: Update) -> None:
        """Remember that `digest` is not to be run there.

        Raises:
            StoreError: nothing has changed.
        """
        row = (pipeline, digest, problem.refusal, problem.detail, self._store.clock.wall_us())
        with self._store.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?, ?)", row)
            self._note(connection, notes)

    def forgive(self, pipeline: str, but: str) -> None:
        """Forget what was refused there but for the digest `but`: another one is named now."""
        with self._store.transaction() as connection:
            connection.execute("DELETE FROM refused WHERE pipeline = ? AND digest <> ?", (pipeline, but))

    def refused(self, pipeline: str) -> dict[str, Problem]:
        """What is not to be run there, by digest."""
        sql = (
            "SELECT digest, refusal, detail, coalesce((SELECT rollout FROM updates u WHERE u.pipeline = r.pipeline"
            " AND u.digest = r.digest AND u.refusal <> '' ORDER BY id DESC LIMIT 1), '') FROM refused r"
            " WHERE pipeline = ?"
        )
        with self._store.reading() as connection:
            rows = fetch(connection, sql, (pipeline,))
        return {digest: Problem(Refusal(refusal), detail, rollout) for digest, refusal, detail, rollout in rows}

    def note(self, *notes: Update) -> None:
        """Add to the history, and let go of what is older than `KEEP_ROWS` steps.

        Raises:
            StoreError: nothing has changed.
        """
        with self._store.transaction() as connection:
            self._note(connection, notes)

    def floor(self, bundle: str) -> str:
        """The lowest version of `bundle` that may run; empty when there is none."""
        with self._store.reading() as connection:
            return floors.read(connection).bundles.get(bundle, "")

    def latencies_us(self, pipeline: str, digest: str) -> list[int]:
        """How long the latest verdicts of a digest took, the latest first: among the last few thousand on record."""
        sql = (
            "SELECT latency_us FROM (SELECT * FROM verdicts ORDER BY id DESC LIMIT ?) v JOIN contexts c "
            "ON c.id = v.context WHERE c.pipeline = ? AND c.digest = ? AND v.verdict <> ? LIMIT ?"
        )
        values = (_LOOK_BACK_ROWS, pipeline, bytes.fromhex(digest), int(Verdict.UNINSPECTED), _LATENCIES)
        with self._store.reading() as connection:
            return [int(us) for (us,) in fetch(connection, sql, values)]

    def last(self, pipeline: str) -> Update | None:
        """The latest step of a pipeline."""
        with self._store.reading() as connection:
            rows = fetch(connection, f"{_STEPS} WHERE pipeline = ? ORDER BY id DESC LIMIT 1", (pipeline,))
        names = ("pipeline", "step", "bundle", "version", "digest", "rollout", "refusal", "detail", "actor")
        return Update(**dict(zip(names, rows[0], strict=True))) if rows else None

    def _note(self, connection: Connection, notes: tuple[Update, ...]) -> None:
        sql = (
            "INSERT INTO updates (at_us, pipeline, step, bundle, version, digest, rollout, refusal, detail, actor)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        )
        for note in notes:
            what = (note.bundle, note.version, note.digest, note.rollout, note.refusal, note.detail, note.actor)
            connection.execute(sql, (self._store.clock.wall_us(), note.pipeline, note.step, *what))
            self._tell(note)
        connection.execute("DELETE FROM updates WHERE id <= (SELECT max(id) FROM updates) - ?", (KEEP_ROWS,))
