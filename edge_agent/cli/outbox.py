"""`edge-agent outbox`: what was made, what waits for the hub, what was given up: this gateway's side of the account."""

from pathlib import Path

import click

from edge_agent.cli import place
from edge_agent.cli.printing import as_json, show_json, show_rows
from edge_protocol import ranges


@click.command(help="What waits for the hub, and the account.")
@place.option
@as_json
def command(config_file: Path, *, as_json: bool) -> None:
    """Show the account of every stream: produced = received by the hub + held here + declared lost."""
    from edge_agent.telemetry import cursors

    with place.reading(place.load(config_file)) as connection:
        found = cursors.load_all(connection)
    rows = []
    for cursor in found:
        declared = ranges.count(ranges.subtract(cursor.declared, cursor.committed))
        rows.append(
            {
                "stream": cursor.stream,
                "epoch": cursor.epoch,
                "produced": cursor.next - 1,
                "received": ranges.count(cursor.committed),
                "held": ranges.count(cursor.held),
                "declared": declared,
            }
        )
    if as_json:
        show_json(rows)
    else:
        show_rows(rows, "nothing was ever recorded")
