"""`edge-agent verdicts`: the last verdicts on record, the newest first."""

from pathlib import Path

import click

from edge_agent.cli import place
from edge_agent.cli.printing import as_json, show_json, show_rows

_SQL = (
    "SELECT at, pipeline, trigger, part, verdict, reason, score, latency_ms, bundle, version, received FROM verdict "
    "WHERE (:verdict = '' OR verdict = :verdict) AND (:pipeline = '' OR pipeline = :pipeline) "
    "ORDER BY at DESC, trigger DESC LIMIT :limit"
)


@click.command(help="The last verdicts.")
@place.option
@click.option("--limit", "-n", default=20, show_default=True, type=click.IntRange(1, 10_000), help="How many.")
@click.option("--verdict", default="", type=click.Choice(["", "OK", "NG", "REVIEW", "UNINSPECTED"]), help="Only these.")
@click.option("--pipeline", default="", help="Only of this pipeline.")
@as_json
def command(config_file: Path, limit: int, verdict: str, pipeline: str, *, as_json: bool) -> None:
    """Show verdicts on record. Those of the last two seconds may not be on record yet, but for NG and REVIEW."""
    values = {"verdict": verdict, "pipeline": pipeline, "limit": limit}
    rows = place.select(place.load(config_file), _SQL, values)
    for row in rows:
        row["received"] = bool(row["received"])
    if as_json:
        show_json(rows)
    else:
        show_rows(rows, "no verdicts on record")
