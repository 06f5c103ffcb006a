"""Which model has reproduced its goldens on this gateway, and under which libraries: rows of the database.

A row is of a digest and a variant. What is not there, or was written under others, is to be checked again.
"""

from edge_agent.store import Store, fetch


def passed(store: Store, digest: str, variant: str) -> str:
    """The environment that a model passed in the last time; empty when it never has.

    Raises:
        StoreError: as `Store.reading`.
    """
    sql = "SELECT environment FROM checks WHERE digest = ? AND variant = ?"
    with store.reading() as connection:
        rows = fetch(connection, sql, (digest, variant))
    return str(rows[0][0]) if rows else ""


def keep(store: Store, digest: str, variant: str, environment: str) -> None:
    """Write down that a model has passed.

    Raises:
        StoreError: nothing was written.
    """
    with store.transaction() as connection:
        row = (digest, variant, environment, store.clock.wall_us())
        connection.execute("INSERT OR REPLACE INTO checks VALUES (?, ?, ?, ?)", row)


def forget(store: Store, digest: str) -> None:
    """Whatever it has passed, it is to be checked again.

    Raises:
        StoreError: nothing was written.
    """
    with store.transaction() as connection:
        connection.execute("DELETE FROM checks WHERE digest = ?", (digest,))
