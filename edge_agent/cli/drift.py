"""`edge-agent drift`: the gateway's own findings, made with the hub's functions and without the hub."""

from pathlib import Path
from typing import Any

import click
import msgspec

from edge_agent.cli import place, status
from edge_agent.cli.printing import as_json, show_json, show_rows
from edge_agent.config import Config
from edge_protocol.codes import FindingState


@click.command(help="How far live signals are from their reference.")
@place.option
@as_json
def command(config_file: Path, *, as_json: bool) -> None:
    """Show the latest window of each signal against the bundle's reference. Exit code 1 if a signal drifts.

    The running agent is asked; when it does not run, the counters that still wait for the hub are judged here.
    """
    settings = place.load(config_file)
    rows = _live(settings)
    if rows is None:
        rows = [row for pipeline in settings.pipelines for row in _judge(settings, pipeline.name, pipeline.bundle)]
    if as_json:
        show_json(rows)
    else:
        show_rows(rows, "no counters on record yet: the first pane closes after some hundred parts")
    if any(row["finding"] == FindingState.DRIFT for row in rows):
        raise SystemExit(1)


def _live(settings: Config) -> list[dict[str, Any]] | None:
    found = status.ask(settings)
    if not found["running"]:
        return None
    return [
        {"pipeline": pipeline, "signal": name, "finding": finding.pop("state"), **finding}
        for pipeline, signals in found["drift"].items()
        for name, finding in signals.items()
    ]


def _judge(settings: Config, pipeline: str, bundle_name: str) -> list[dict[str, Any]]:
    from edge_agent.monitoring.findings import DriftWatch
    from edge_protocol import bundle, counters
    from edge_protocol.errors import ProtocolError

    folder = settings.data_dir / "bundles" / bundle_name
    try:
        manifest, digest = bundle.load(folder)
        reference = counters.load_reference((folder / manifest.reference).read_bytes())
    except (ProtocolError, OSError):
        return []
    watch = DriftWatch(reference)
    for pane in place.panes(settings):
        if (pane.pipeline, pane.bundle, pane.reference) == (pipeline, digest, reference.digest):
            watch.add(pane)
    if watch.latest is None:
        return []
    return [
        {"pipeline": pipeline, "signal": name, "finding": found.state.value, **_numbers(found)}
        for name, found in watch.latest.findings.items()
    ]


def _numbers(found: msgspec.Struct) -> dict[str, Any]:
    return {key: value for key, value in msgspec.structs.asdict(found).items() if key != "state"}
