import itertools
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent import quarantine
from edge_agent.clock import BUILD_US, FixedClock
from edge_agent.durable import Operation
from edge_agent.errors import StoreError
from edge_agent.store import PAGE_BYTES, Store, StoreCorrupt, StoreFull, fetch, read_only
from edge_protocol.codes import ClockState

QUOTA_BYTES = 8 * 2**20
EVENT = "INSERT INTO events VALUES (?, 0, 1, ?)"

Opened = Callable[[], Store]


class PowerCutError(Exception):
    """The moment after which nothing more is done."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "lineside.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Opened]:
    """A function that opens it; what is still open at the end is let go of."""
    stores = []

    def open_it(clock: FixedClock | None = None, quota_bytes: int = QUOTA_BYTES) -> Store:
        stores.append(Store.open(path, quota_bytes=quota_bytes, clock=clock or FixedClock()))
        return stores[-1]

    yield open_it
    for store in stores:
        store._release()


def fill(store: Store, rows: int = 1000) -> None:
    """Events 1…rows of 200 bytes."""
    with store.transaction() as connection:
        connection.executemany(EVENT, [(n, bytes([n % 256]) * 200) for n in range(1, rows + 1)])


def numbers(store: Store) -> list[int]:
    """The events that are there."""
    with store.reading() as connection:
        return [row[0] for row in fetch(connection, "SELECT id FROM events ORDER BY id")]


def damage(path: Path, page: int, pages: int = 1) -> None:
    """Overwrite pages with what is no page."""
    with path.open("r+b") as file:
        file.seek(page * PAGE_BYTES)
        file.write(b"\xa5" * PAGE_BYTES * pages)


def page_of(path: Path, row: int) -> int:
    """A page that holds the event `row`, or one that looks like it."""
    return path.read_bytes().index(bytes([row % 256]) * 200) // PAGE_BYTES


def test_a_second_agent_is_refused_and_told_who_has_it(path: Path, opened: Opened):
    """
    Two processes never write one database: the second is told who has it and what to do, and the first goes on.
    """
    first = opened()

    with pytest.raises(StoreError, match=r"another agent, process \d+") as refusal:
        opened()

    assert "data_dir" in refusal.value.hint
    fill(first, 1)


def test_a_transaction_is_whole_or_nothing(opened: Opened):
    """
    What is raised inside a transaction undoes all of it, and only it.
    """
    store = opened()
    fill(store, 3)

    def stopped() -> None:
        with store.transaction() as connection:
            connection.execute(EVENT, (4, b""))
            raise PowerCutError

    with pytest.raises(PowerCutError):
        stopped()

    assert numbers(store) == [1, 2, 3]


def test_a_transaction_within_another_is_a_part_of_it(opened: Opened):
    """
    Nothing of an inner transaction is durable when the outer one fails.
    """
    store = opened()
    epoch = store.epoch

    def stopped() -> None:
        with store.transaction():
            fill(store, 2)
            store.new_epoch()
            raise PowerCutError

    with pytest.raises(PowerCutError):
        stopped()

    assert numbers(store) == []
    assert store.epoch == epoch


def test_each_commit_is_synced(opened: Opened):
    """
    The database is set up so that a commit survives a power cut and the log cannot grow without bound.
    """
    store = opened()

    with store.reading() as connection:
        found = {
            name: fetch(connection, f"PRAGMA {name}")[0][0]
            for name in ("journal_mode", "synchronous", "page_size", "wal_autocheckpoint", "journal_size_limit")
        }

    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "page_size": 4096,
        "wal_autocheckpoint": 256,
        "journal_size_limit": 1048576,
    }


def test_a_stop_that_was_not_asked_for_is_known(opened: Opened):
    """
    A store that was closed is clean; one that was not wants to be checked, and says so until it was.
    """
    first = opened()
    first.close()
    second = opened()
    second._release()
    third = opened()

    assert (first.was_clean, second.was_clean, third.was_clean) == (True, True, False)
    assert third.check_needed
    assert third.run_check() == ""
    assert not third.check_needed


def test_only_a_line_that_ended_in_order_makes_up_for_a_kill(opened: Opened):
    """After a kill, a start that fails and a tool that has had the file leave it known; the line's end settles it."""
    opened()._release()
    tool = opened()
    tool.close()
    line = opened()
    line.finish()
    line.close()

    assert (tool.was_clean, line.was_clean, opened().was_clean) == (False, False, True)


def test_the_epoch_is_the_files(opened: Opened):
    """
    A file keeps its epoch over restarts until a new one is begun.
    """
    first = opened()
    epoch = first.epoch
    first.close()

    second = opened()
    assert second.epoch == epoch
    assert 0 < second.new_epoch() < 2**31
    second.close()

    assert opened().epoch == second.epoch != epoch


def test_the_floor_of_the_clock_survives(opened: Opened):
    """
    A gateway that has seen a time knows after a restart with a dead clock that this one is behind.
    """
    seen_us = BUILD_US + 30 * 86_400_000_000
    store = opened()
    store.clock.raise_floor(seen_us)
    store.close()

    clocks = [FixedClock(wall_us=BUILD_US + 1), FixedClock(wall_us=BUILD_US + 2)]
    for clock in clocks:
        opened(clock).close()

    assert [clock.floor_us for clock in clocks] == [seen_us, seen_us]
    assert {clock.time().clock for clock in clocks} == {ClockState.BEHIND}


def test_runs_of_the_clock_are_numbered_on(opened: Opened):
    """
    The first run of a process follows the last one that is on record.
    """
    store = opened()
    with store.transaction() as connection:
        connection.execute("INSERT INTO runs VALUES (1, 'boot', 41, 0, 0, 'ok', x'')")
    store.close()

    assert opened().clock.time().run == 42


def test_a_later_database_is_refused_and_left_alone(path: Path, opened: Opened):
    """
    A database of a version that this agent does not know is not touched.
    """
    store = opened()
    with store.reading() as connection:
        connection.execute("PRAGMA user_version=99")
    store.close()
    before = path.read_bytes()

    with pytest.raises(StoreError, match="version 99"):
        opened()

    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    """
    Where nothing can be written, the error names the folder and the cure.
    """
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match="file") as refusal:
        Store.open(tmp_path / "file" / "lineside.db", quota_bytes=QUOTA_BYTES, clock=FixedClock())

    assert refusal.value.hint


@pytest.mark.parametrize("lost", ["first page", "middle", "all"])
def test_a_damaged_database_is_moved_aside_and_salvaged(path: Path, opened: Opened, lost: str):
    """
    What can still be read of a damaged database is in the new one, the old one lies in quarantine, the epoch is new.
    """
    store = opened()
    fill(store)
    store.close()
    pages = path.stat().st_size // PAGE_BYTES
    page, count = {"first page": (0, 1), "middle": (page_of(path, 500), 3), "all": (0, pages)}[lost]
    damage(path, page, count)
    broken = path.read_bytes()
    if lost == "middle":
        store = opened()
        assert store.run_check() != ""
        store.close()

    after = opened()

    assert after.salvage is not None
    assert (path.parent / "quarantine" / after.salvage.folder / path.name).stat().st_size == len(broken)
    assert after.epoch != store.epoch
    found = set(numbers(after))
    assert len(found) == after.salvage.rows.get("events", 0)
    low, high = {"first page": (1000, 1000), "middle": (900, 999), "all": (0, 0)}[lost]
    assert low <= len(found) <= high
    assert lost == "all" or {1, 1000} <= found


def test_a_cut_while_a_database_is_moved_aside_loses_nothing(tmp_path: Path):
    """
    Whenever the power goes while a database is moved to quarantine, the next start ends with all of its rows.
    """
    live = tmp_path / "live" / "lineside.db"
    store = Store.open(live, quota_bytes=QUOTA_BYTES, clock=FixedClock())
    fill(store, 100)
    for end in itertools.count():
        # As a kill leaves them: most rows are still in the log.
        path = tmp_path / str(end) / "lineside.db"
        path.parent.mkdir()
        for side in ("", "-wal", "-shm"):
            shutil.copy(live.with_name(live.name + side), path.parent)
        left = itertools.count(end, -1)

        def stop(_operation: Operation, left: Iterator[int] = left) -> None:
            if next(left) == 0:
                raise PowerCutError

        try:
            quarantine.move(path, "a test", 0, record=stop)
        except PowerCutError:
            finished = False
        else:
            finished = True
        after = Store.open(path, quota_bytes=QUOTA_BYTES, clock=FixedClock())
        found = numbers(after)
        after.close()

        assert found == list(range(1, 101))
        if finished:
            store.close()
            return


def test_damage_that_is_found_while_running_says_to_start_again(path: Path, opened: Opened):
    """
    A page that turns out damaged under way is an error of its own, and the next start salvages without being told.
    """
    store = opened()
    fill(store)
    store.close()
    damage(path, page_of(path, 500))

    store = opened()
    with pytest.raises(StoreCorrupt, match="damaged"):
        numbers(store)
    store.close()

    assert opened().salvage is not None


def test_a_full_quota_is_said_and_can_be_emptied(opened: Opened):
    """
    At the quota an insert fails as a whole and says so; a delete still works, and then there is room.
    """
    store = opened()

    def fill_up() -> None:
        for rows in itertools.count(0, 500):
            with store.transaction() as connection:
                connection.executemany(EVENT, [(rows + n, b"x" * 1000) for n in range(1, 501)])

    with pytest.raises(StoreFull):
        fill_up()

    assert len(numbers(store)) % 500 == 0
    assert store.room_bytes(0.9) < 0
    with store.transaction() as connection:
        connection.execute("DELETE FROM events WHERE id <= 2000")
    assert store.room_bytes(0.7) > 0
    with store.transaction() as connection:
        connection.execute(EVENT, (10**6, b"x" * 1000))
    assert store.path.stat().st_size <= QUOTA_BYTES


def test_another_process_can_read_and_not_write(path: Path, opened: Opened):
    """
    Who reads beside the agent sees what is committed and cannot change it.
    """
    fill(opened(), 5)

    def ask(path: Path, sql: str) -> object:
        with read_only(path) as connection:
            return fetch(connection, sql)

    assert ask(path, "SELECT count(*) FROM events") == [(5,)]
    with pytest.raises(StoreError):
        ask(path, "DELETE FROM events")
    with pytest.raises(StoreError):
        ask(path.with_name("none.db"), "SELECT 1")


_WRITER = """
import sys
from pathlib import Path
from edge_agent.clock import FixedClock
from edge_agent.store import Store
store = Store.open(Path(sys.argv[1]), quota_bytes=8 << 20, clock=FixedClock())
for n in range(1, 10**6):
    with store.transaction() as connection:
        connection.execute("INSERT INTO events VALUES (?, 0, 1, ?)", (n, b"x"))
        connection.execute("INSERT INTO drift VALUES (?, 0, 1, ?)", (n, b"x"))
    sys.stdout.write(f"{n}\\n")
    sys.stdout.flush()
"""


def test_a_killed_process_leaves_what_it_committed(path: Path, opened: Opened):
    """
    After a kill −9 every transaction that had ended is there, whole, and at most one more; the lock is free.
    """
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    for _ in range(20):
        said = int(writer.stdout.readline())
    writer.kill()
    said = max([said, *map(int, writer.stdout.read().split())])
    writer.wait()
    writer.stdout.close()

    store = opened()

    found = numbers(store)
    assert found in (list(range(1, said + 1)), list(range(1, said + 2)))
    with store.reading() as connection:
        assert [row[0] for row in fetch(connection, "SELECT id FROM drift ORDER BY id")] == found
    assert not store.was_clean
