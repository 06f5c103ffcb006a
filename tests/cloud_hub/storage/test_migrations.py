"""The migrations and the tables that the code believes in."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from cloud_hub.errors import StorageError
from cloud_hub.storage.database import Database
from cloud_hub.storage.migrate import upgrade
from cloud_hub.storage.schema import metadata


def test_the_migrations_make_the_schema(database: Database) -> None:
    """
    A database at the newest migration has exactly the tables, columns and indices of `schema`.
    """
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = compare_metadata(context, metadata)

    assert found == []


def test_rows_of_gateways_are_kept_by_their_identity(database: Database) -> None:
    """
    The identity of a row is its primary key, in that order: gateway, epoch, then stream, then number.
    """
    keys = {
        table: inspect(database.engine).get_pk_constraint(table)["constrained_columns"]
        for table in ("verdicts", "records", "cursors", "panes", "gaps")
    }

    assert keys["verdicts"] == ["gateway", "epoch", "seq"]
    assert keys["cursors"] == ["gateway", "epoch", "stream"]
    assert keys["records"] == keys["panes"] == keys["gaps"] == ["gateway", "epoch", "stream", "seq"]


def test_every_table_names_its_tenant_and_gateway() -> None:
    """
    Tenant is on every table, and gateway wherever rows come from one.
    """
    without_gateway = {
        "gateways", "bundles", "bundle_files", "drift_references", "leases", "operating_points", "publishers",
        "rollouts",
    }  # fmt: skip

    assert [table.name for table in metadata.sorted_tables if "tenant" not in table.c] == []
    assert {table.name for table in metadata.sorted_tables if "gateway" not in table.c} == without_gateway


def test_an_upgrade_of_the_newest_changes_nothing(database: Database) -> None:
    """
    Upgrading twice is upgrading once.
    """
    before = inspect(database.engine).get_table_names()

    upgrade(database)

    assert inspect(database.engine).get_table_names() == before


def test_a_database_of_a_later_hub_is_left_alone(sqlite: Database) -> None:
    """
    A migration that is not known here stops the hub before it touches anything.
    """
    with sqlite.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(StorageError, match="9999"):
        upgrade(sqlite)
