"""What runs and what is never gone back behind survives a damaged database."""

from pathlib import Path

import pytest

from edge_agent import salvage
from edge_agent.clock import FixedClock
from edge_agent.salvage import PAGE_BYTES
from edge_agent.store import Store, fetch

QUOTA_BYTES = 32 * 2**20
OWN = {"meta", "words", "checks", "optimised"}
"""Tables of which each database has its own: what they say is found again, and nothing old is believed for it."""

ROWS = {
    "floors": [("bundle", f"b{n:03}", "1.0.0") for n in range(400)],
    "slots": [("a", "ab" * 32, "surface", "1.1.0", "cd" * 32, "kept", 7, 0, "r-1")],
    "refused": [("a", f"{n:064x}", "SelfTestFailed", "normalise", 9) for n in range(300)],
    "updates": [(n, 5, "a", "kept", "surface", "1.1.0", "ab" * 32, "r-1", "", "", "") for n in range(1, 300)],
}


def write(path: Path) -> int:
    """A database with these rows; its pages."""
    store = Store.open(path, quota_bytes=QUOTA_BYTES, clock=FixedClock())
    with store.transaction() as connection:
        for table, rows in ROWS.items():
            marks = ", ".join("?" * len(rows[0]))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 (our own names)
    store.close()
    return path.stat().st_size // PAGE_BYTES


def read(path: Path) -> tuple[dict[str, list[tuple[object, ...]]], Store]:
    """What a start finds there, and the open store."""
    store = Store.open(path, quota_bytes=QUOTA_BYTES, clock=FixedClock())
    with store.reading() as connection:
        return {table: fetch(connection, f"SELECT * FROM {table}") for table in ROWS}, store  # noqa: S608


def test_no_table_is_forgotten(tmp_path: Path):
    """
    Every table of the schema is salvaged or is each database's own.
    """
    _, store = read(tmp_path / "lineside.db")
    with store.reading() as connection:
        tables = {row[0] for row in fetch(connection, "SELECT name FROM sqlite_schema WHERE type = 'table'")}
    store.close()

    assert tables == {*salvage.TABLES, *salvage.KEYED} | OWN


def test_slots_and_floors_come_over_whole(tmp_path: Path):
    """
    With the first page lost, every row of what runs, what is refused and what is never gone back behind is there again.
    """
    path = tmp_path / "lineside.db"
    write(path)
    with path.open("r+b") as file:
        file.write(b"\xa5" * PAGE_BYTES)

    found, store = read(path)
    counts = store.salvage.rows if store.salvage else {}
    store.close()

    assert found == ROWS
    assert {table: counts[table] for table in ROWS} == {table: len(rows) for table, rows in ROWS.items()}


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9])
def test_what_a_damaged_page_takes_is_all_that_is_lost(tmp_path: Path, share: float):
    """
    A page in the middle of anything: no row comes over that was not there, and only what lay on it is missing.
    """
    path = tmp_path / "lineside.db"
    pages = write(path)
    with path.open("r+b") as file:
        file.seek(round(share * pages) * PAGE_BYTES)
        file.write(b"\xa5" * PAGE_BYTES)
    path.with_suffix(".suspect").write_text("a test")

    found, store = read(path)
    store.close()

    missing = sum(len(set(rows) - set(found[table])) for table, rows in ROWS.items())
    assert all(set(found[table]) <= set(rows) for table, rows in ROWS.items())
    assert missing < 300
