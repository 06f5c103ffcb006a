"""`edge-agent tune`: which variant, how many threads and which memory make a model fastest on this gateway."""

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from edge_agent.cli import place
from edge_agent.cli.printing import as_json, show_json, show_rows
from edge_agent.config import Config
from edge_agent.errors import ConfigError


@click.command(help="Measure how models run best here.")
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option("--variant", default="", help="Only this variant; without it all that suit the processor.")
@click.option("--seconds", default=30.0, show_default=True, help="How long to measure each bundle at most.")
@place.option
@as_json
def command(bundle: Path | None, variant: str, seconds: float, config_file: Path, *, as_json: bool) -> None:
    """Tune what this gateway runs and keep the plans for its next start; of a folder BUNDLE, only show them.

    The agent must not run: the line would disturb the measurement, and it the line. A plan holds for the quota it was
    measured under: where the agent's is another than this shell's, that is said, with how to measure under the agent's.
    """
    from edge_agent.cli import plans
    from edge_agent.diagnostics import tune
    from edge_agent.inference.tuning import NO_TIME

    shown: list[dict[str, Any]] = []
    outlook = ""
    with ExitStack() as undo:
        if bundle is not None:
            found = tune.tune(bundle, variant=variant, seconds=seconds, cache_folder=bundle, store=None)
            shown += map(asdict, tune.rows(bundle.name, found))
        else:
            settings = place.load(config_file)
            outlook, cure = plans.outlook(settings)
            store = _store(settings, undo)
            if cure:  # Before the time is spent, and never among the rows.
                click.echo(f"care: {outlook}\n  try: {cure}", err=True)
            for folder, configured in place.running(settings).items():
                found = tune.tune(
                    folder,
                    variant=variant or configured,
                    seconds=seconds,
                    cache_folder=settings.data_dir / "cache",
                    store=store,
                )
                shown += map(asdict, tune.rows(_name(folder), found))
    if as_json:
        show_json(shown)
    else:
        show_rows(shown, "no pipeline is configured")
        if any(NO_TIME in row["note"] for row in shown):
            click.echo(f"\nwith more than --seconds {seconds:g} all of them would have been tried")
        if bundle is None and shown:
            click.echo(f"\n{outlook}")


def _store(settings: Config, undo: ExitStack) -> Any:
    from edge_agent.clock import Clock
    from edge_agent.store import Store

    if not place.database(settings).is_file():
        message = f"{place.database(settings)} is not there: this gateway has not run yet"
        raise ConfigError(message, "start it once with edge-agent run, or name a bundle's folder")
    store = Store.open(place.database(settings), quota_bytes=settings.store.quota_mb * 2**20, clock=Clock())
    undo.callback(store.close)
    return store


def _name(folder: Path) -> str:
    from edge_protocol import bundle

    manifest, _ = bundle.read(folder)
    return f"{manifest.name} {manifest.version}"
