"""Which gateway a verb is about: the configuration it was pointed at, and read-only eyes on its database."""

from pathlib import Path

import click

from edge_agent import config

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
