"""`cloud-hub serve`: the hub in the foreground until it is told to stop."""

import json
import logging
import signal
import sys
import threading
from pathlib import Path

import click

from cloud_hub.cli import place
from cloud_hub.cli.printing import as_json, show_json


@click.command(help="Run the hub: broker, receiver and pages.")
@place.option
@click.option("--verbose", "-v", is_flag=True, help="Log more.")
@as_json
def command(*, folder: Path, verbose: bool, as_json: bool) -> None:
    """Serve until SIGTERM or Ctrl-C, then end in order: exit code 0."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    settings = place.load(folder)
    from cloud_hub.hub import SERVING, Hub

    hub = Hub(settings)
    try:
        hub.start()
        serving = json.loads((settings.folder / SERVING).read_bytes())
        if as_json:
            show_json({**serving, "login": hub.login_url()})
        else:
            click.echo(f"Broker at {serving['broker']}, pages at {serving['web']}. Ctrl-C ends it.")
            click.echo(f"To look at them, open once: {hub.login_url()}")
        sys.stdout.flush()
        hub.run(stop)
    finally:
        hub.close()
