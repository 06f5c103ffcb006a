"""`cloud-hub bundle`: the releases this hub knows. What is added here is unsigned; `cloud-hub publish` signs."""

from pathlib import Path

import click

from cloud_hub.cli import bundle_draft, place
from cloud_hub.cli.printing import as_json, show_json, show_rows, when
from cloud_hub.clock import SystemClock
from cloud_hub.storage.objects import Objects
from cloud_hub.updates import catalogue


@click.group(help="The releases this hub knows.")
def command() -> None:
    """The verbs below `bundle`."""


for verb in bundle_draft.VERBS:
    command.add_command(verb)


@command.command(
    "add",
    help="Take a bundle's folder into the catalogue, unsigned: the hub knows its reference, no gateway is sent it.",
)
@click.argument("source", metavar="FOLDER", type=click.Path(path_type=Path))
@place.option
@place.actor_options
@as_json
def add(source: Path, *, folder: Path, actor: str | None, reason: str, as_json: bool) -> None:
    """Check the bundle, keep its files and its manifest."""
    settings = place.load(folder)
    objects = Objects.open(settings.objects)
    with place.opened(settings) as database, database.writing() as connection:
        doer = place.actor(actor, reason, settings.settings.hub.tenant)
        release = catalogue.add(connection, objects, source, doer, SystemClock().wall_us())
    if as_json:
        show_json(release)
    else:
        click.echo(f"{release.name} {release.version} is in the catalogue as {release.digest[:12]}.")
        if not release.publisher:
            click.echo("Nobody has signed it, so it can't be rolled out: cloud-hub publish FOLDER --key FILE")


@command.command("list", help="Show the catalogue.")
@place.option
@as_json
def show(*, folder: Path, as_json: bool) -> None:
    """Show every release."""
    with place.opened(place.load(folder)) as database, database.reading() as connection:
        found = catalogue.releases(connection)
    if as_json:
        show_json(found)
        return
    rows = [
        {"name": each.name, "version": each.version, "task": each.task, "digest": each.digest[:12],
         "signed by": each.publisher or "-", "floor": each.floor or "-", "added": when(each.added_us), "by": each.actor}
        for each in found
    ]  # fmt: skip
    show_rows(rows, "no bundle was published yet: cloud-hub publish FOLDER --key FILE")
