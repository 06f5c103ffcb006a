"""`cloud-hub`: one verb a file, each loaded only when it is asked for."""

import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import click

from cloud_hub.errors import HubError

VERBS = {
    "account": "produced = archived + buffered + declared, gateway by gateway",
    "bundle": "the releases this hub knows",
    "drift": "live signals against their references, and alarms",
    "enrol": "sign a gateway's certificate request",
    "fleet": "every gateway: models, verdict rates, the account, last seen",
    "init": "make a hub in a new folder",
    "keys": "who may sign updates: make, delegate, revoke, rotate, show",
    "operating-point": "thresholds that take the place of a bundle's own: publish, assign, show",
    "publish": "check a bundle, sign it and hand it to a hub that runs",
    "rollout": "bring a release to gateways wave by wave; explain why one has it or not",
    "serve": "run the hub: broker, receiver and pages",
}


class Verbs(click.Group):
    """Loads a verb's file when it is used; lists all from the table."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the verbs."""
        del ctx
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb called `cmd_name`."""
        del ctx
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"cloud_hub.cli.{cmd_name.replace('-', '_')}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of `--help`, without loading every verb."""
        del ctx
        with formatter.section("Verbs"):
            formatter.write_dl(sorted(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("lineside"), prog_name="cloud-hub")
def verbs() -> None:
    """Know the fleet: what its gateways judged, and the proof that nothing of it is lost. Every verb takes --json."""


def main(arguments: Sequence[str] | None = None) -> Any:
    """Run a verb. Exit code 0: as asked; 1: it ran and something is not as it should be; 2: it could not run."""
    try:
        return verbs.main(arguments, prog_name="cloud-hub")
    except HubError as error:
        click.echo(f"error: {error}", err=True)
        if error.hint:
            click.echo(f"  try: {error.hint}", err=True)
        sys.exit(2)
