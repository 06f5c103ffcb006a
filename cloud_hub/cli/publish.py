"""`cloud-hub publish DIR`: on the publisher's machine, a bundle is checked, signed and handed to a hub."""

import json
from contextlib import closing
from pathlib import Path

import click

from cloud_hub.access import keys, tokens
from cloud_hub.access.founding import TOKEN
from cloud_hub.cli import place
from cloud_hub.cli.printing import as_json, show_json
from cloud_hub.clock import SystemClock
from cloud_hub.errors import ConfigError
from cloud_hub.updates.desk import Desk
from cloud_hub.updates.publisher import Request, publish
from edge_protocol.envelope import PrivateKey

SERVING = "serving.json"


def desk_options(function: place.F) -> place.F:
    """Options `--key`, `--url` and `--token-file`: who signs, and where the hub is."""
    file = click.Path(path_type=Path)
    key = click.option("--key", "key_file", type=file, required=True, help="The publisher's key.")
    url = click.option("--url", default="", help="Address of the hub's pages, when its folder is not on this machine.")
    token = click.option("--token-file", type=file, help="The owner's token, with --url.")
    return key(url(token(function)))


@click.command(help="Check the bundle in FOLDER, sign it, and hand it to a hub that runs.")
@click.argument("source", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option("--floor", default="", help="From now on nothing of this name below this version may run.")
@desk_options
@place.option
@place.actor_options
@as_json
def command(
    source: Path, *, key_file: Path, floor: str, url: str, token_file: Path | None, folder: Path, actor: str | None,
    reason: str, as_json: bool,
) -> None:  # fmt: skip
    """Publish; the same bundle again changes nothing."""
    key = read_key(key_file)
    with closing(open_desk(folder, url, token_file)) as desk:
        asked = Request(source, key, floor, place.actor(actor, reason).name, reason)
        outcome = publish(desk, asked, SystemClock().wall_us())
    if as_json:
        show_json(outcome)
        return
    what = f"{outcome.name} {outcome.version} ({outcome.digest[:12]})"
    if outcome.changed:
        size = f"{outcome.uploaded} files, {outcome.uploaded_bytes / 1e6:.1f} MB were sent"
        click.echo(f"{what} is published, signed by {outcome.publisher}; {size}.")
        click.echo("Next, on the hub: cloud-hub rollout create")
    else:
        click.echo(f"{what} is published already; nothing was changed.")


def open_desk(folder: Path, url: str, token_file: Path | None) -> Desk:
    """The desk of the hub at `url`, or of the one whose folder is on this machine.

    Raises:
        ConfigError: it does not run, or there is no token.
    """
    if url:
        if token_file is None:
            message = "--url needs --token-file"
            raise ConfigError(message, f"copy {TOKEN} of the hub's folder here, readable by you alone")
        return Desk.open(url, tokens.read(token_file))
    settings = place.load(folder)
    try:
        web = json.loads((settings.folder / SERVING).read_bytes())["web"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        message = f"the hub in {settings.folder} does not run"
        raise ConfigError(message, f"start it: cloud-hub serve --hub {folder}") from error
    return Desk.open(web, tokens.read(token_file or settings.folder / TOKEN))


def read_key(path: Path) -> PrivateKey:
    """A publisher's key.

    Raises:
        ConfigError: the file holds none.
    """
    try:
        return keys.load(path)
    except ConfigError as error:
        raise ConfigError(str(error), "name the FILE that cloud-hub keys new has written here") from error
