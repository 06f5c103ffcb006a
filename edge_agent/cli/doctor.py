"""`edge-agent doctor`: whether this gateway can do its work, one sentence for each thing that it needs."""

from dataclasses import asdict
from pathlib import Path

import click

from edge_agent.cli import place
from edge_agent.cli.printing import as_json, show_json
from edge_agent.config import Config

_SIGNS = {"well": "ok  ", "care": "care", "ill": "ILL "}


@click.command(help="Whether this gateway can do its work, and what to do where it cannot.")
@place.option
@as_json
def command(config_file: Path, *, as_json: bool) -> None:
    """Look at processor, memory, disk, clock, identity and models. Exit code 1 if the line cannot be judged so."""
    from edge_agent.cli import plans
    from edge_agent.diagnostics.doctor import State, examine

    settings = place.load(config_file)
    remarks = []
    known, quota = plans.by_digest(settings), plans.noted_quota(settings)
    for remark in examine(settings, place.running(settings), _optimised(settings), known, quota):
        remarks.append(remark)
        if not as_json:
            click.echo(f"{_SIGNS[remark.state]}  {remark.about}: {remark.says}")
            if remark.cure:
                click.echo(f"      try: {remark.cure}")
    if as_json:
        show_json([asdict(remark) for remark in remarks])
    if any(remark.state is State.ILL for remark in remarks):
        raise SystemExit(1)


def _optimised(settings: Config) -> dict[str, str]:
    return {row["key"]: row["sha256"] for row in place.known(settings, "SELECT key, sha256 FROM optimised")}
