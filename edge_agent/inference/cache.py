"""What was made of models on this gateway: optimised forms, a file and a row for each, and the plans they run by.

Who makes one writes the file and syncs it, then the row; a child process writes the file and tells its parent, which
writes the row. A file without its row, or one that differs from it, was never made: the signed model is what counts.
"""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from edge_agent import durable
from edge_agent.errors import StoreError
from edge_agent.inference.tuning import MOST_THREADS, Plan
from edge_agent.store import Store, fetch

CACHED_MODELS = 16
"""Optimised models that are kept; the least recently written goes first."""


NOTED_QUOTA = "SELECT value FROM meta WHERE name = 'quota'"
"""How many processors the agent had when it last started: what its plans hold for, seen from any cgroup."""


def note_quota(store: Store, quota: float) -> None:
    """Note how many processors this agent has. Where it cannot be noted, the note of the start before stays."""
    with suppress(StoreError), store.transaction() as connection:
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('quota', ?)", (quota,))


class Rows(Protocol):
    """Digests of files by key. A dictionary is one, for a process that has no database."""

    def get(self, key: str, /) -> str | None:
        """The SHA-256 of the file under `key`."""

    def __setitem__(self, key: str, sha256: str, /) -> None:
        """The file under `key` is on disk."""


class StoreRows:
    """Those of the gateway's database. One that cannot be used costs time at the next start and nothing else."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, key: str, /) -> str | None:
        """The SHA-256 of the file under `key`."""
        with suppress(StoreError), self._store.reading() as connection:
            for (sha256,) in fetch(connection, "SELECT sha256 FROM optimised WHERE key = ?", (key,)):
                return str(sha256)
        return None

    def __setitem__(self, key: str, sha256: str, /) -> None:
        """The file under `key` is on disk. Rows whose files must be gone by now go too."""
        newest = "SELECT key FROM optimised ORDER BY at_us DESC LIMIT ?"
        with suppress(StoreError), self._store.transaction() as connection:
            row = (key, sha256, self._store.clock.wall_us())
            connection.execute("INSERT OR REPLACE INTO optimised VALUES (?, ?, ?)", row)
            connection.execute(f"DELETE FROM optimised WHERE key NOT IN ({newest})", (4 * CACHED_MODELS,))  # noqa: S608


class Plans(Protocol):
    """Plans by the digest of their bundle. A dictionary is one."""

    def get(self, digest: str, /) -> Plan | None:
        """The plan that was measured on this gateway as it is now."""

    def __setitem__(self, digest: str, plan: Plan, /) -> None:
        """From now on the bundle runs by `plan` here."""


class StorePlans:
    """Those of the gateway's database for a fingerprint of its processor, quota and runtime."""

    def __init__(self, store: Store, fingerprint: str) -> None:
        self._store = store
        self._fingerprint = fingerprint

    def get(self, digest: str, /) -> Plan | None:
        """The plan that was measured on this gateway as it is now."""
        sql = "SELECT variant, threads, arena, p50_ms FROM plans WHERE fingerprint = ? AND digest = ?"
        with suppress(StoreError), self._store.reading() as connection:
            for variant, threads, arena, p50_ms in fetch(connection, sql, (self._fingerprint, digest)):
                # A row that was salvaged, or made elsewhere, must not start a thousand threads.
                return Plan(variant, threads, bool(arena), p50_ms) if 1 <= threads <= MOST_THREADS else None
        return None

    def __setitem__(self, digest: str, plan: Plan, /) -> None:
        """From now on the bundle runs by `plan` here. Plans of other hardware go when there are many."""
        newest = "SELECT at_us FROM plans ORDER BY at_us DESC LIMIT 1 OFFSET ?"
        with suppress(StoreError), self._store.transaction() as connection:
            values = (plan.variant, plan.threads, int(plan.arena), plan.p50_ms, self._store.clock.wall_us())
            row = (self._fingerprint, digest, *values)
            connection.execute("INSERT OR REPLACE INTO plans VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            connection.execute(f"DELETE FROM plans WHERE at_us <= ({newest})", (4 * CACHED_MODELS,))  # noqa: S608


class Cache:
    """A folder of optimised models and their rows, and the plans. Belongs to any thread."""

    def __init__(
        self, folder: Path, rows: Rows, plans: Plans | None = None, *, record: durable.Recorder | None = None
    ) -> None:
        """`record` is told each durable step."""
        self.folder = folder
        self.rows = rows
        self.plans: Plans = plans if plans is not None else {}
        self._record = record

    def read(self, key: str) -> bytes | None:
        """The optimised model under `key`, read once and hashed; None when it has to be made."""
        expected = self.rows.get(key)
        if expected is None:
            return None
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        return content if hashlib.sha256(content).hexdigest() == expected else None

    def write(self, key: str, optimised: bytes) -> None:
        """Keep an optimised model: first the file, then its row. What cannot be written is made again next time."""
        with suppress(OSError):
            durable.make_folder(self.folder, record=self._record)
            durable.write_file(self._path(key), optimised, record=self._record)
            self.rows[key] = hashlib.sha256(optimised).hexdigest()
            self._prune()

    def adopt(self, rows: Mapping[str, str]) -> None:
        """Write the rows of files that another one made: a child process, or this one before it had a database."""
        for key, sha256 in rows.items():
            self.rows[key] = sha256

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.opt"

    def _prune(self) -> None:
        newest_first = sorted(self.folder.glob("*.opt"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in newest_first[CACHED_MODELS:]:
            path.unlink(missing_ok=True)
