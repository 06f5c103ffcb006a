"""`cloud-hub init`: a new hub in a new folder."""

from pathlib import Path
from typing import Literal

import click

from cloud_hub.access.founding import TOKEN, Plan, found
from cloud_hub.cli import place
from cloud_hub.cli.printing import as_json, show_json
from cloud_hub.clock import SystemClock

_PORT = click.IntRange(0, 65535)


@click.command(help="Make a hub in a new folder: configuration, keys, the owner's token, an empty database.")
@place.new_option
@click.option("--engine", type=click.Choice(["iotcore", "mosquitto"]), default="iotcore", help="The broker to run.")
@click.option("--web-port", type=_PORT, default=0, help="Port of the pages; 0: any free one.")
@click.option("--broker-port", type=_PORT, default=0, help="Port of the broker; 0: any free one.")
@click.option("--database", default="", help="URL of the database; a file in the folder by default.")
@place.actor_options
@as_json
def command(
    *,
    folder: Path,
    engine: Literal["iotcore", "mosquitto"],
    web_port: int,
    broker_port: int,
    database: str,
    actor: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Make the hub and say where things are."""
    plan = Plan(engine, web_port, broker_port, database)
    made = found(folder, plan, place.actor(actor, reason), SystemClock().wall_us())
    if as_json:
        show_json({"folder": str(made.folder), "token_file": str(made.folder / TOKEN)})
    else:
        click.echo(f"A hub is in {made.folder}; the owner's token is in {made.folder / TOKEN}.")
        click.echo(f"Next: cloud-hub serve --hub {folder}")
