"""The one door to the database, and the only file that imports its driver: transactions come in, durable rows result.

One process, one connection, one writer at a time. A file that cannot be read is moved aside and what it still holds is
copied into a new one with a new epoch; nothing is ever deleted that was not first read elsewhere.
"""

import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

import apsw

from edge_agent import durable, quarantine, room
from edge_agent.clock import Clock
from edge_agent.errors import StoreError
from edge_agent.lock import take_lock
from edge_agent.salvage import PAGE_BYTES, Salvage, copy_all, mend
from edge_agent.schema import MIGRATIONS, PRAGMAS, WORDS

Connection: TypeAlias = apsw.Connection

OLDEST_SQLITE = (3, 51, 3)
"""Earlier ones can corrupt a database when a second connection resets the WAL."""

WAL_BYTES = 2 * 1024 * 1024
"""Kept out of the quota for the log: 1 MB of it stays, a large transaction makes it grow for a while."""

CHECK_S = 900
BUSY_MS = 5000

_CORRUPT = (apsw.CorruptError, apsw.NotADBError)


class StoreFull(StoreError):
    """The quota or the disk is full: shed something and try again."""

    retry = True


class StoreCorrupt(StoreError):
    """The database is damaged: the next start moves it aside and saves what can be read."""


class Store:
    """An open database. Made by `Store.open`; transactions of all threads take turns."""

    def __init__(self, path: Path, quota_bytes: int, clock: Clock, lock: int) -> None:
        self.path = path
        self.clock = clock
        self.epoch = 0
        self.was_clean = self._is_settled = True
        self.check_needed = False
        self.salvage: Salvage | None = None
        self.rollbacks = 0
        self._quota_pages = self._max_pages = max((quota_bytes - WAL_BYTES - room.BALLAST_BYTES) // PAGE_BYTES, 256)
        self._lock_file = lock
        self._lock = threading.RLock()
        self._depth = 0
        self._connection: apsw.Connection | None = None
        self._saved_floor_us = 0
        self._ballast = path.with_suffix(".ballast")
        self._suspect = path.with_suffix(".suspect")

    @classmethod
    def open(cls, path: Path, *, quota_bytes: int, clock: Clock) -> "Store":
        """The store at `path`, made if it is not there; a damaged one is moved to `quarantine/` and salvaged.

        Raises:
            StoreError: another agent has it, the folder cannot be written, or a later version made it.
        """
        if tuple(map(int, apsw.sqlite_lib_version().split("."))) < OLDEST_SQLITE:
            message = f"SQLite {apsw.sqlite_lib_version()} is too old: it can corrupt a database"
            raise StoreError(message, "install apsw 3.51.3 or later")
        try:
            durable.make_folder(path.parent)
            store = cls(path, quota_bytes, clock, take_lock(path.with_suffix(".lock")))
        except OSError as error:
            message = f"{path.parent} cannot be written: {error.strerror}"
            raise StoreError(message, "free disk space, let the agent's user own it, or set data_dir") from error
        try:
            store._open()
        except BaseException:
            store._release()
            raise
        return store

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All or nothing, on disk when it ends. Inside another transaction of this thread it is a part of that one.

        Raises:
            StoreFull: no room; nothing was written.
            StoreCorrupt: the file is damaged.
            StoreError: it cannot be written for another reason; nothing was.
        """
        with self._lock:
            if self._depth:
                yield self._ready()
                return
            try:
                connection = self._ready()
                connection.execute("BEGIN IMMEDIATE")
                self._depth, epoch = 1, self.epoch
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    self.epoch = epoch
                    self.rollbacks += 1
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
                finally:
                    self._depth = 0
            except apsw.Error as error:
                raise self._translate(error) from error

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A moment without writers. Fetch what is needed and leave.

        Raises:
            StoreError: as `transaction`.
        """
        with self._lock:
            if self._depth:
                yield self._ready()
                return
            try:
                yield self._ready()
            except apsw.Error as error:
                raise self._translate(error) from error

    def new_epoch(self) -> int:
        """Begin another numbering: what is appended from now on belongs to it. Part of the caller's transaction."""
        with self.transaction() as connection:
            epoch = secrets.randbelow(2**31 - 1) + 1
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (epoch,))
            self.epoch = epoch
            return epoch

    def room_bytes(self, share: float = 1.0) -> int:
        """How much may still be written until `share` of the quota is in use; less than nothing when more is."""
        with self.reading() as connection:
            used = int(connection.pragma("page_count")) - int(connection.pragma("freelist_count"))
            return round(share * self._max_pages - used) * PAGE_BYTES

    def keep(self) -> None:
        """Write down the clock's floor when it has risen by more than a minute, and set the ballast up again."""
        if self.clock.floor_us - self._saved_floor_us > 60_000_000:
            with self.transaction() as connection:
                self._save_floor(connection)
        if room.keep_ballast(self._ballast):
            self._limit(self._quota_pages)

    def run_check(self) -> str:
        """Look for damage in a child process while the line runs; what it found, or nothing. Takes seconds.

        A damaged file is marked: the next start moves it aside.
        """
        command = [sys.executable, "-m", "edge_agent.store", str(self.path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_S, check=False)  # noqa: S603
        except subprocess.TimeoutExpired:
            return f"the check did not end within {CHECK_S} s"
        if findings := done.stderr.strip() if done.returncode else "":
            self._mark_suspect(findings)
        self.check_needed = False
        return findings

    def finish(self) -> None:
        """The line has ended in order. A start that fails, and a tool, leave to the next one what a kill left."""
        self._is_settled = True

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        with self._lock:
            if self._connection is not None:
                with suppress(StoreError), self.transaction() as connection:
                    self._save_floor(connection)
                    # A run that ends in order before its check has ended leaves the check to the next one.
                    words = (("clean", int(self._is_settled)), ("unchecked", int(self.check_needed)))
                    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", words)
            if self._lock_file >= 0:
                self._drop_connection()
                room.keep_scraps(self._ballast)
            self._release()

    def _open(self) -> None:
        quarantine.pending(self.path)
        crowded = room.make_way(self._ballast)
        try:
            if self._suspect.exists():
                quarantine.move(self.path, self._suspect.read_text("utf-8", "replace"), self.clock.wall_us())
                durable.remove(self._suspect)
            try:
                self._prepare()
            except (StoreCorrupt, *_CORRUPT) as error:
                self._drop_connection()
                self._suspect.unlink(missing_ok=True)
                quarantine.move(self.path, str(error), self.clock.wall_us())
                self._prepare()
        except (apsw.Error, OSError) as error:
            message = f"{self.path} cannot be opened: {error}"
            raise StoreError(message, "free disk space, and let the agent's user own the file") from error
        for folder in quarantine.pending(self.path):
            self._salvage_from(folder)
        durable.sync_folder(self.path.parent)
        self._claim(crowded=crowded)
        self.keep()

    def _salvage_from(self, folder: Path) -> None:
        new = self._ready()
        new.pragma("wal_checkpoint", "TRUNCATE")
        with _broken(folder / self.path.name, self.path) as old:
            rows = copy_all(old, new, apsw.Error) if old is not None else {}
        self.salvage = Salvage(folder.name, quarantine.reason_of(folder), rows)
        with self.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('salvage', ?)", (json.dumps(asdict(self.salvage)),))
        quarantine.finish(folder)

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self.path))
        connection.set_busy_timeout(BUSY_MS)
        for pragma in PRAGMAS.split(";"):
            connection.execute(pragma)
        connection.execute(f"PRAGMA max_page_count={self._max_pages}")
        return connection

    def _prepare(self) -> None:
        """Connect, migrate, and read and note what concerns this start."""
        connection = self._connection = self._connect()
        version = int(connection.pragma("user_version"))
        if version > len(MIGRATIONS):
            message = f"{self.path} is of version {version}, this agent knows {len(MIGRATIONS)}"
            raise StoreError(message, "run the agent that made it, or a later one")
        for number, migration in enumerate(MIGRATIONS[version:], version + 1):
            connection.execute(f"BEGIN IMMEDIATE; {migration}; PRAGMA user_version={number}; COMMIT")
        with self.transaction():
            meta: dict[str, Any] = dict(connection.execute("SELECT name, value FROM meta"))
            ((run,),) = connection.execute("SELECT coalesce(max(run), 0) FROM runs").fetchall()
            self.was_clean = self._is_settled = bool(meta.get("clean", True))
            self.check_needed = not self.was_clean or bool(meta.get("unchecked", False))
            self.epoch = meta.get("epoch") or self.new_epoch()
            self.salvage = Salvage(**json.loads(meta["salvage"])) if "salvage" in meta else None
            self._saved_floor_us = meta.get("floor_us", 0)
            self.clock.resume(int(run or 0), self._saved_floor_us)
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('clean', 0)")
            connection.executemany("INSERT OR REPLACE INTO words VALUES (?, ?, ?)", WORDS)

    def _save_floor(self, connection: Connection) -> None:
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('floor_us', ?)", (self.clock.floor_us,))
        self._saved_floor_us = self.clock.floor_us

    def _ready(self) -> apsw.Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _translate(self, error: apsw.Error) -> StoreError:
        """Our name for a driver's error, with what has to be done about it at once."""
        if isinstance(error, apsw.FullError):
            self._stop_growing()
            return StoreFull(f"no room for {self.path}", "free disk space or raise store.quota_mb; the oldest are shed")
        if isinstance(error, _CORRUPT):
            self._mark_suspect(str(error))
            message = f"{self.path} is damaged: {error}"
            return StoreCorrupt(message, "start the agent again: it moves the file aside and saves what it can")
        if isinstance(error, apsw.IOError):
            # After a failed fsync the kernel may call lost pages clean: only a new connection reads what is there.
            self._drop_connection()
            self.check_needed = True
            message = f"{self.path} cannot be written: {error}"
            return StoreError(message, "check the disk; the records wait in memory meanwhile")
        return StoreError(f"{self.path}: {error}", "no other program may write it; readers keep transactions short")

    def _drop_connection(self) -> None:
        if self._connection is not None:
            with suppress(apsw.Error):
                self._connection.close(True)
            self._connection = None

    def _stop_growing(self) -> None:
        """When it is not the quota but the disk that is full: live within the pages there are until it has room."""
        with suppress(apsw.Error, OSError):
            connection = self._ready()
            pages = int(connection.pragma("page_count"))
            if pages < self._max_pages - 8:
                self._ballast.unlink(missing_ok=True)
                connection.execute("PRAGMA wal_checkpoint(RESTART)")
                self._limit(pages)

    def _claim(self, *, crowded: bool) -> None:
        """Have room of its own before others take it; on a full disk, live within that."""
        connection = self._ready()
        if size := room.to_claim(int(connection.pragma("page_count")), crowded=crowded):
            for sql, values in ((room.FILL, (size,)), (room.EMPTY, ())):
                with suppress(StoreFull), self.transaction():
                    connection.execute(sql, values)
        if crowded:
            with suppress(apsw.Error):  # then it stays in the log until there is room
                connection.pragma("wal_checkpoint", "RESTART")
            self._limit(int(connection.pragma("page_count")))

    def _limit(self, pages: int) -> None:
        self._max_pages = pages
        with self.reading() as connection:
            connection.execute(f"PRAGMA max_page_count={pages}")

    def _mark_suspect(self, findings: str) -> None:
        with suppress(OSError):
            durable.write_file(self._suspect, findings.encode())

    def _release(self) -> None:
        self._drop_connection()
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1


def fetch(connection: Connection, sql: str, bindings: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """All rows of a query at once: an open cursor would keep the log from being reused."""
    return connection.execute(sql, bindings).fetchall()


@contextmanager
def read_only(path: Path) -> Iterator[Connection]:
    """A connection that can only read, for a process that is not the agent. Keep it short: it holds back the log.

    Raises:
        StoreError: the file cannot be opened, or a question was not answered.
    """
    connection = _open_to_read(path)
    if connection is None:
        message = f"{path} cannot be read"
        raise StoreError(message, "start the agent: it moves a damaged database aside and saves what it can")
    try:
        yield connection
    except apsw.Error as error:
        message = f"{path}: {error}"
        raise StoreError(message, "try again; the agent may be making room") from error
    finally:
        connection.close(True)


@contextmanager
def _broken(path: Path, sound: Path) -> Iterator[Connection | None]:
    """A damaged database, to be read only; None when it cannot be opened at all.

    When its first page is lost, a copy gets that of the sound file: the same migrations made the same first page.
    """
    copy = path.with_name(path.name + "-mended")
    try:
        connection = _open_to_read(path)
        if connection is None:
            mend(path, sound, copy)
            connection = _open_to_read(copy)
        yield connection
        if connection is not None:
            connection.close(True)
    finally:
        for side in ("", "-wal", "-shm"):
            copy.with_name(copy.name + side).unlink(missing_ok=True)


def _open_to_read(path: Path) -> Connection | None:
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    try:
        connection = apsw.Connection(f"file:{quote(str(path))}?mode=ro", flags=flags)
        connection.set_busy_timeout(BUSY_MS)
        connection.execute("PRAGMA cell_size_check=ON; SELECT count(*) FROM sqlite_schema").fetchall()
    except apsw.Error:
        return None
    return connection


def _quick_check(path: Path) -> str:
    """What `quick_check` says of `path`, unless it is "ok"."""
    os.nice(19)
    connection = _open_to_read(path)
    if connection is None:
        return "the database cannot be opened"
    try:
        findings = [str(row[0]) for row in connection.execute("PRAGMA quick_check(10)")]
    except apsw.Error as error:
        return str(error)
    return "" if findings == ["ok"] else "; ".join(findings)


if __name__ == "__main__":
    sys.exit(_quick_check(Path(sys.argv[1])) or 0)
