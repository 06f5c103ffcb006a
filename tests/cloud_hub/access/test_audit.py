"""The audit chain."""

import pytest
from sqlalchemy import delete, update

from cloud_hub.access import audit
from cloud_hub.access.audit import Actor, Entry
from cloud_hub.storage.database import Database
from cloud_hub.storage.schema import audit as table


@pytest.fixture
def chain(database: Database) -> Database:
    """A database with five entries."""
    with database.writing() as connection:
        for n in range(5):
            entry = Entry("did", f"thing {n}", detail={"b": "2", "a": "1"})
            audit.append(connection, Actor("me", "because"), entry, 100 + n)
    return database


def test_a_chain_that_nobody_touched_is_whole(chain: Database) -> None:
    """
    Each row follows from the one before.
    """
    with chain.reading() as connection:
        assert audit.broken_at(connection) is None


@pytest.mark.parametrize(
    "change",
    [{"actor": "you"}, {"reason": ""}, {"at_us": 1}, {"detail": {"a": "2"}}, {"gateway": "x"}, {"hash": b"0" * 32}],
)
def test_a_row_that_was_changed_breaks_the_chain(chain: Database, change: dict[str, object]) -> None:
    """
    No field of a row can be changed without the chain telling which row.
    """
    with chain.writing() as connection:
        connection.execute(update(table).where(table.c.id == 3).values(**change))
        assert audit.broken_at(connection) == 3


def test_a_row_that_was_removed_breaks_the_chain(chain: Database) -> None:
    """
    The row behind a removed one does not follow any more.
    """
    with chain.writing() as connection:
        connection.execute(delete(table).where(table.c.id == 2))
        assert audit.broken_at(connection) == 3
