"""`cloud-hub drift`: every signal against its reference, and the alarms. Exit code 1 while an alarm stands."""

import sys
from pathlib import Path

import click

from cloud_hub.cli import place
from cloud_hub.cli.printing import as_json, show_json, show_rows, when
from cloud_hub.monitoring.views import AlarmView, SignalView, alarms, signals


@click.command(help="Live signals against their references, and alarms. Exit code 1 while an alarm stands.")
@click.argument("gateway", required=False)
@place.option
@as_json
def command(gateway: str | None, *, folder: Path, as_json: bool) -> None:
    """Show findings and alarms, of one gateway or of all."""
    with place.opened(place.load(folder)) as database, database.reading() as connection:
        found = signals(connection, gateway)
        raised = [alarm for alarm in alarms(connection) if gateway in (None, alarm.gateway)]
    if as_json:
        show_json({"signals": found, "alarms": raised})
    else:
        show_rows([_signal(view) for view in found], "no counters of a known bundle have arrived yet")
        click.echo()
        show_rows([_alarm(view) for view in raised], "no alarm was ever raised")
    if any(alarm.active for alarm in raised):
        sys.exit(1)


def _signal(view: SignalView) -> dict[str, object]:
    finding = view.finding
    return {
        "gateway": view.gateway,
        "pipeline": view.pipeline,
        "signal": view.signal,
        "finding": finding.state.value,
        "PSI": f"{finding.psi:.3f}",
        "chi²": f"{finding.chi2:.1f}",
        "samples": finding.n,
        "windows": len(view.history),
    }


def _alarm(view: AlarmView) -> dict[str, object]:
    return {
        "alarm": view.id,
        "stands": "yes" if view.active else "no",
        "kind": view.kind,
        "raised": when(view.raised_us),
        "cleared": when(view.cleared_us or 0),
        "what": view.text,
    }
