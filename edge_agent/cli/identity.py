"""`edge-agent identity new`: the key is made on the gateway and never leaves it; what leaves is a request."""

from pathlib import Path

import click

from edge_agent import identity
from edge_agent.cli.printing import as_json, show_json


@click.group(help="Make this gateway's key and certificate request.")
def command() -> None:
    """The group of verbs on the identity."""


@command.command()
@click.argument("gateway")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("data/identity"),
    show_default=True,
    help="Where the key goes: `identity` in the gateway's data folder.",
)
@as_json
def new(gateway: str, folder: Path, *, as_json: bool) -> None:
    """Make a key for GATEWAY and print the request for its certificate, for `cloud-hub enrol`. Overwrites nothing."""
    request = identity.new(folder, gateway)
    if as_json:
        show_json({"gateway": gateway, "key_file": folder / identity.KEY, "csr": request})
    else:
        click.echo(request, nl=False)
        click.echo(f"the key is {folder / identity.KEY}; give the request above to: cloud-hub enrol", err=True)
