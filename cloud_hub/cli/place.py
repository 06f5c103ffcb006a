"""Which hub a verb is about, and who is asking."""

import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from cloud_hub import config
from cloud_hub.access.audit import Actor
from cloud_hub.config import Config
from cloud_hub.storage.database import Database

F = TypeVar("F", bound=Callable[..., Any])


def _option(default: str, meaning: str) -> Callable[[F], F]:
    return click.option(
        "--hub",
        "folder",
        type=click.Path(path_type=Path),
        default=default,
        envvar="CLOUD_HUB",
        show_default=True,
        show_envvar=True,
        help=meaning,
    )


option = _option(".", "Folder of the hub, or its TOML.")
"""The option that names the hub."""

new_option = _option("hub", "Folder to make the hub in.")
"""The option that names a hub which is not there yet."""


def actor_options(function: F) -> F:
    """The options of a verb that changes something: whoever it is and why stands in the audit chain."""
    who = click.option("--actor", default=None, help="Who does this; the name you are logged in with by default.")
    why = click.option("--reason", default="", help="Why; kept in the audit chain.")
    return who(why(function))


def actor(name: str | None, reason: str, tenant: str = "default") -> Actor:
    """Who acts, why, and for which tenant."""
    return Actor(name or _login(), reason, tenant)


@contextmanager
def opened(settings: Config) -> Iterator[Database]:
    """The database of a hub.

    Raises:
        StorageError: it does not open.
    """
    database = Database.open(settings.database_url)
    try:
        yield database
    finally:
        database.close()


def load(folder: Path) -> Config:
    """The configuration of the hub.

    Raises:
        ConfigError: as `config.load`.
    """
    return config.load(folder)


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
