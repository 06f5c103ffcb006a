"""`cloud-hub operating-point`: thresholds that take the place of a bundle's own, published, assigned and looked at."""

from contextlib import closing
from pathlib import Path
from typing import Any

import click
import msgspec

from cloud_hub.cli import place
from cloud_hub.cli.printing import as_json, show_json, show_rows, when
from cloud_hub.cli.publish import desk_options, open_desk, read_key
from cloud_hub.cli.rollout import read_label
from cloud_hub.clock import SystemClock
from cloud_hub.errors import ConfigError
from cloud_hub.updates import ceremony, points
from cloud_hub.updates.publisher import PointRequest, publish_point
from cloud_hub.updates.rollouts.plan import Selection
from edge_protocol.bundle import OperatingPoint

_FILE_HINT = "write it as the manifest's operating_point: accept, reject, min_area, persistence, hysteresis, zones"


@click.group(help="Thresholds that take the place of a bundle's own.")
def command() -> None:
    """The verbs below `operating-point`."""


def _selection(function: place.F) -> place.F:
    for name, text in (
        ("--site", "Gateways of this site."),
        ("--line", "Gateways of this line."),
        ("--label", "Gateways with this label, as name=value."),
        ("--gateway", "This gateway."),
        ("--pipeline", "This pipeline."),
    ):
        function = click.option(name, multiple=True, help=f"{text} May be given more than once.")(function)
    return function


@command.command("publish", help="Sign one for the release BUNDLE BUNDLE_VERSION as NAME VERSION; a hub must run.")
@click.argument("bundle")
@click.argument("bundle_version")
@click.argument("name")
@click.argument("version")
@click.option("--file", "file", type=click.Path(path_type=Path), required=True, help="The thresholds, as JSON.")
@desk_options
@place.option
@place.actor_options
@as_json
def publish(
    bundle: str, bundle_version: str, name: str, version: str, *, file: Path, key_file: Path, url: str,
    token_file: Path | None, folder: Path, actor: str | None, reason: str, as_json: bool,
) -> None:  # fmt: skip
    """Publish; the same again changes nothing."""
    key, point = read_key(key_file), _read(file)
    with closing(open_desk(folder, url, token_file)) as desk:
        who = place.actor(actor, reason).name
        asked = PointRequest(bundle, bundle_version, name, version, point, key, who, reason)
        outcome = publish_point(desk, asked, SystemClock().wall_us())
    if as_json:
        show_json(outcome)
    elif outcome.changed:
        click.echo(f"{name} {version} for {bundle} {bundle_version} is published, signed by {outcome.publisher}.")
        click.echo(f"Next, on the hub: cloud-hub operating-point assign {bundle} {name} {version} --gateway NAME")
    else:
        click.echo(f"{name} {version} is published already; nothing was changed.")


@command.command("assign", help="Have pipelines that run its release judge by BUNDLE's operating point NAME VERSION.")
@click.argument("bundle")
@click.argument("name")
@click.argument("version")
@_selection
@place.option
@place.actor_options
@as_json
def assign(
    bundle: str, name: str, version: str, *, folder: Path, actor: str | None, reason: str, as_json: bool, **asked: Any
) -> None:
    """Name it to the selected pipelines; without a selection to every one that runs its release."""
    _assign((bundle, name, version), folder, actor, reason, asked, as_json=as_json)


@command.command("clear", help="Have pipelines judge by their bundles' own again.")
@_selection
@place.option
@place.actor_options
@as_json
def clear(*, folder: Path, actor: str | None, reason: str, as_json: bool, **asked: Any) -> None:
    """Name none to the selected pipelines."""
    if not any(asked.values()):
        message = "nothing was selected"
        raise ConfigError(message, "say --gateway, --site, --line, --label or --pipeline")
    _assign(None, folder, actor, reason, asked, as_json=as_json)


@command.command("show", help="What was published, and which pipelines should judge by it.")
@place.option
@as_json
def show(folder: Path, *, as_json: bool) -> None:
    """Show both lists. Exit code 1 when a pipeline does not yet judge by what it should."""
    settings = place.load(folder)
    with place.opened(settings) as database, database.reading() as connection:
        published = points.releases(connection)
        named = points.assignments(connection, settings.settings.hub.tenant)
    if as_json:
        show_json({"published": published, "assigned": named})
    else:
        rows = [
            {
                "bundle": each.bundle, "for": each.digest[:12], "name": each.name, "version": each.version,
                "digest": each.sha256[:12], "publisher": each.publisher, "added": when(each.added_us),
            }
            for each in published
        ]  # fmt: skip
        show_rows(rows, "none was published yet: cloud-hub operating-point publish")
        click.echo()
        show_rows([_row(each) for each in named], "every pipeline judges by its bundle's own")
    if any(each.judges_by != each.sha256 for each in named):
        raise SystemExit(1)


def _assign(
    point: tuple[str, str, str] | None, folder: Path, actor: str | None, reason: str, asked: dict[str, Any], *,
    as_json: bool,
) -> None:  # fmt: skip
    settings = place.load(folder)
    doer = place.actor(actor, reason, settings.settings.hub.tenant)
    chosen = Selection(
        sites=asked["site"], lines=asked["line"], labels=dict(map(read_label, asked["label"])),
        gateways=asked["gateway"], pipelines=asked["pipeline"],
    )  # fmt: skip
    with place.opened(settings) as database, database.writing() as connection:
        signer = ceremony.need_online_key(connection, settings.folder)
        found = points.find(connection, *point, doer.tenant) if point is not None else None
        meant = points.selected(connection, chosen, doer.tenant, found.digest if found is not None else "")
        points.assign(connection, signer, meant, found, actor=doer, now_us=SystemClock().wall_us())
    if as_json:
        show_json([{"gateway": gateway, "pipeline": pipeline} for gateway, pipeline in meant])
        return
    what = f"{found.name} {found.version}" if found is not None else "their bundles' own operating points"
    click.echo(f"{len(meant)} pipelines shall judge by {what}.")
    show_rows([{"gateway": gateway, "pipeline": pipeline} for gateway, pipeline in meant], "")


def _read(file: Path) -> OperatingPoint:
    try:
        return msgspec.json.decode(file.read_bytes(), type=OperatingPoint)
    except (OSError, msgspec.MsgspecError) as error:
        message = f"{file}: {error}"
        raise ConfigError(message, _FILE_HINT) from error


def _row(each: points.PointAssignment) -> dict[str, object]:
    return {
        "gateway": each.gateway, "pipeline": each.pipeline, "should judge by": f"{each.name} {each.version}",
        "judges by": "that" if each.judges_by == each.sha256 else each.judges_by[:12] or "its bundle's own",
        "since": when(each.at_us),
    }  # fmt: skip
