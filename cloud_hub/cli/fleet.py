"""`cloud-hub fleet`: every gateway with its pipelines, its account and when it was last heard of."""

from pathlib import Path

import click

from cloud_hub.cli import place
from cloud_hub.cli.printing import as_json, show_json, show_rows, when
from cloud_hub.clock import SystemClock
from cloud_hub.telemetry.views import GatewayView, fleet


@click.command(help="Every gateway: models, verdict rates, the account, last seen.")
@place.option
@as_json
def command(folder: Path, *, as_json: bool) -> None:
    """Show the fleet."""
    with place.opened(place.load(folder)) as database, database.reading() as connection:
        found = fleet(connection, SystemClock().wall_us())
    if as_json:
        show_json(found)
    else:
        show_rows([_row(view) for view in found], "no gateway is enrolled yet: cloud-hub enrol REQUEST")


def _row(view: GatewayView) -> dict[str, object]:
    models = ", ".join(f"{each.name}: {each.model} {each.version}".strip() for each in view.pipelines)
    rate = sum(each.rate_per_min for each in view.pipelines)
    return {
        "gateway": view.id,
        "site": view.place.site,
        "line": view.place.line,
        "state": "online" if view.online else "offline",
        "last seen": when(view.last_seen_us),
        "pipelines": models or "-",
        "per min": f"{rate:.0f}",
        "produced": view.account.produced,
        "archived": view.account.archived,
        "buffered": view.account.buffered,
        "declared": view.account.declared,
        "balanced": "yes" if view.account.balanced else "NO",
        "alarms": view.alarms,
    }
