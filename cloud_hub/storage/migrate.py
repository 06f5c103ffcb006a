"""Brings a database to the newest schema by the alembic scripts that lie beside this file."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from cloud_hub.errors import StorageError
from cloud_hub.storage.database import Database


def upgrade(database: Database) -> None:
    """Apply what is missing; nothing at all when the database is at the newest migration.

    Raises:
        StorageError: the database was made by a later version of the hub.
    """
    with database.writing() as connection:
        config = _config(connection)
        script = ScriptDirectory.from_config(config)
        at = MigrationContext.configure(connection).get_current_revision()
        if at is not None and at not in {revision.revision for revision in script.walk_revisions()}:
            message = f"the database is at migration {at}, which this version of the hub does not know"
            raise StorageError(message, "start the version of the hub that made it, or a later one")
        if at != script.get_current_head():
            command.upgrade(config, "head")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
