"""The two doors of the database."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from cloud_hub.errors import StorageError, ValueRefused
from cloud_hub.storage.database import Database, insert_rows, put
from cloud_hub.storage.schema import gateways, refusals

GATEWAY = {"id": "press-1", "enrolled_us": 1}


def names(database: Database) -> list[str]:
    """The gateways in a database."""
    with database.reading() as connection:
        return list(connection.execute(select(gateways.c.id).order_by(gateways.c.id)).scalars())


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    """
    Whatever is written before an exception is gone after it.
    """

    def write_and_fail() -> None:
        with database.writing() as connection:
            connection.execute(insert(gateways).values(**GATEWAY))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()

    assert names(database) == []


def test_a_reader_sees_one_moment(database: Database) -> None:
    """
    What is committed while somebody reads is not in what they read.
    """
    with database.reading() as connection:
        before = connection.execute(select(gateways.c.id)).all()
        with database.writing() as writer:
            writer.execute(insert(gateways).values(**GATEWAY))
        after = connection.execute(select(gateways.c.id)).all()

    assert before == after == []
    assert names(database) == ["press-1"]


def test_a_fault_of_the_caller_is_not_the_databases(database: Database) -> None:
    """
    An error that is not the database's goes through both doors as it is.
    """
    for door in (database.reading, database.writing):
        with pytest.raises(BrokenPipeError), door():
            raise BrokenPipeError


def test_what_is_committed_is_synced(sqlite: Database) -> None:
    """
    SQLite writes ahead and syncs at each commit: a receipt follows no other kind.
    """
    with sqlite.reading() as connection:
        journal, synchronous = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("journal_mode", "synchronous")
        )

    assert (journal, synchronous) == ("wal", 2)


def test_tuples_go_where_the_caller_says(database: Database) -> None:
    """
    The order of the named columns decides, not the table's.
    """
    with database.writing() as connection:
        insert_rows(connection, gateways, ("enrolled_us", "line", "id"), [(7, "a", "press-1"), (8, "b", "press-2")])
        rows = connection.execute(select(gateways.c.id, gateways.c.line, gateways.c.enrolled_us)).all()

    assert sorted(map(tuple, rows)) == [("press-1", "a", 7), ("press-2", "b", 8)]


def test_a_known_key_is_an_error_unless_it_is_passed_over(database: Database) -> None:
    """
    A row that is there is never silently another: only who says so passes over it.
    """
    with database.writing() as connection:
        connection.execute(insert(gateways).values(**GATEWAY))

    def again(*, past_known: bool) -> None:
        with database.writing() as connection:
            insert_rows(connection, gateways, ("id", "enrolled_us"), [("press-1", 2)], past_known=past_known)

    with pytest.raises(ValueRefused):
        again(past_known=False)
    again(past_known=True)
    with database.reading() as connection:
        assert connection.execute(select(gateways.c.enrolled_us)).scalars().all() == [1]


def test_put_sets_what_is_there_and_adds_where_asked(database: Database) -> None:
    """
    A second put replaces; the column it is told to add to grows.
    """
    row = {"gateway": "a", "kind": "body", "n": 2, "first_us": 1, "last_us": 1}
    with database.writing() as connection:
        put(connection, refusals, row, add="n")
        put(connection, refusals, row | {"n": 3, "last_us": 9}, add="n")
        found = connection.execute(select(refusals.c.n, refusals.c.last_us)).one()

    assert tuple(found) == (5, 9)


def test_a_value_that_cannot_be_stored_is_told_apart(database: Database) -> None:
    """
    What will never fit is refused as such; it is no reason to wait for the database.
    """

    def write() -> None:
        with database.writing() as connection:
            insert_rows(connection, gateways, ("id", "enrolled_us"), [("press-1", 2**70)])

    with pytest.raises(ValueRefused):
        write()


def test_two_processes_write_in_turn(sqlite: Database, tmp_path: Path) -> None:
    """
    A writer of another process waits until this one's transaction is through.
    """
    url = f"sqlite:///{tmp_path / 'hub.db'}"
    program = (
        "from cloud_hub.storage.database import Database, put; from cloud_hub.storage.schema import gateways\n"
        f"database = Database.open({url!r}); print('open', flush=True)\n"
        "with database.writing() as connection: put(connection, gateways, {'id': 'theirs', 'enrolled_us': 1})\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        with sqlite.writing() as connection:
            assert other.stdout.readline() == "open\n"
            with pytest.raises(subprocess.TimeoutExpired):
                other.wait(0.3)
            connection.execute(insert(gateways).values(**GATEWAY))
        assert other.wait(20) == 0

    assert names(sqlite) == ["press-1", "theirs"]


@pytest.mark.parametrize("url", ["sqlite:////nowhere/hub.db", "mysql://host/db", "nonsense"])
def test_a_database_that_does_not_open_says_where_to_look(url: str) -> None:
    """
    A wrong address is one sentence with a cure.
    """
    with pytest.raises(StorageError) as caught:
        Database.open(url)

    assert "\n" not in str(caught.value)
    assert "hub.toml" in caught.value.hint


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    """
    Foreign bytes in place of the database are an error, and stay as they are.
    """
    path = tmp_path / "hub.db"
    path.write_bytes(b"this is not a database, and long enough to be looked at" * 20)

    with pytest.raises(StorageError):
        Database.open(f"sqlite:///{path}")

    assert path.read_bytes().startswith(b"this is not")
