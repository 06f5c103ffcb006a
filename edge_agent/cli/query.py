"""`edge-agent query`: SQL of the operator's own over the gateway's database, through read-only eyes."""

from pathlib import Path
from typing import Any

import click

from edge_agent.cli import place
from edge_agent.cli.printing import as_json, show_json, show_rows
from edge_agent.errors import ConfigError


@click.command(help="Ask the database in SQL, read-only.")
@click.argument("sql")
@place.option
@as_json
def command(sql: str, config_file: Path, *, as_json: bool) -> None:
    """Run one SELECT. The view `verdict` has names where the tables have numbers; `.tables` lists what there is."""
    rows = _rows(place.database(place.load(config_file)), sql)
    if as_json:
        show_json(rows)
    else:
        show_rows(rows, "no rows")


def _rows(path: Path, sql: str) -> list[dict[str, Any]]:
    import sqlite_utils
    from sqlite_utils.utils import sqlite3  # type: ignore[attr-defined]  # the SQLite that it speaks to

    if not path.is_file():
        message = f"{path} is not there: this gateway has not run yet"
        raise ConfigError(message, "start it with edge-agent run, or point --config at another gateway")
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
    try:
        database = sqlite_utils.Database(connection)
        if sql == ".tables":
            names = [(name, "table") for name in database.table_names()] + [
                (name, "view") for name in database.view_names()
            ]
            return [{"name": name, "kind": kind, "rows": database[name].count} for name, kind in names]
        return list(database.query(sql))
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        message = f"SQLite says: {error}"
        raise ConfigError(message, "edge-agent query .tables lists what there is; only SELECT is possible") from error
    finally:
        connection.close()
