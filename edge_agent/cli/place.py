"""Which gateway a verb is about: the configuration it was pointed at, and read-only eyes on its database."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from edge_agent import config, store
from edge_agent.errors import ConfigError, StoreError
from edge_agent.store import Connection
from edge_protocol.codes import Verdict
from edge_protocol.messages import Pane, decode_record

option = click.option(
    "--config",
    "-c",
    "config_file",
    type=click.Path(path_type=Path),
    default="gateway.toml",
    envvar="EDGE_AGENT_CONFIG",
    show_default=True,
    show_envvar=True,
    help="The gateway's TOML.",
)
"""The option that names the gateway."""


def load(config_file: Path) -> config.Config:
    """The configuration of the gateway.

    Raises:
        ConfigError: as `config.load`.
    """
    return config.load(config_file)


def database(settings: config.Config) -> Path:
    """Where its database lies."""
    return settings.data_dir / "lineside.db"


@contextmanager
def reading(settings: config.Config) -> Iterator[Connection]:
    """A read-only connection to the gateway's database.

    Raises:
        ConfigError: there is none yet.
    """
    path = database(settings)
    if not path.is_file():
        message = f"{path} is not there: this gateway has not run yet"
        raise ConfigError(message, "start it with edge-agent run, or point --config at another gateway")
    with store.read_only(path) as connection:
        yield connection


def select(settings: config.Config, sql: str, values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The rows of a query, by column name."""
    with reading(settings) as connection:
        cursor = connection.execute(sql, values or {})
        names: list[str] = []
        rows = []
        for row in cursor:
            names = names or [column[0] for column in cursor.getdescription()]
            rows.append(dict(zip(names, row, strict=True)))
    return rows


def known(settings: config.Config, sql: str, values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The rows of a query; none where there is no database yet, or one without what is asked of it."""
    if not database(settings).is_file():
        return []
    try:
        return select(settings, sql, values)
    except StoreError:  # of an agent that is older than this table, or damaged: its next start sees to it
        return []


def panes(settings: config.Config) -> list[Pane]:
    """The panes of counters that are on the gateway's disk, the oldest first."""
    rows = select(settings, "SELECT body FROM drift ORDER BY at_us, id")
    found = [decode_record(row["body"]) for row in rows]
    return [each for each in found if isinstance(each, Pane)]


def recorded(settings: config.Config) -> dict[str, Any]:
    """What the database says of each pipeline."""
    sql = "SELECT pipeline, verdict, n FROM totals"
    totals: dict[str, dict[str, int]] = {}
    for row in select(settings, sql):
        totals.setdefault(row["pipeline"], {word.name: 0 for word in Verdict})[Verdict(row["verdict"]).name] = row["n"]
    return {"pipelines": [{"name": name, "verdicts": verdicts} for name, verdicts in totals.items()]}


def running(settings: config.Config) -> dict[Path, str]:
    """The folders of the bundles that the pipelines run, each with the variant that is configured for it."""
    slots = {}
    if database(settings).is_file():
        slots = {row["pipeline"]: row["digest"] for row in select(settings, "SELECT pipeline, digest FROM slots")}
    folders = {}
    for table in settings.pipelines:
        slot = settings.data_dir / "slots" / slots.get(table.name, "")
        folder = slot if table.name in slots else settings.data_dir / "bundles" / table.bundle
        folders[folder] = table.variant
    return folders
