"""`edge-agent doctor`: whether this gateway can do its work, one sentence for each thing that it needs."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_agent.cli import place
from edge_agent.cli.printing import as_json, show_json
from edge_agent.config import Config
from edge_agent.errors import StoreError

if TYPE_CHECKING:
    from edge_agent.inference.tuning import Plan

_SIGNS = {"well": "ok  ", "care": "care", "ill": "ILL "}


@click.command(help="Whether this gateway can do its work, and what to do where it cannot.")
@place.option
@as_json
def command(config_file: Path, *, as_json: bool) -> None:
    """Look at processor, memory, disk, clock, identity and models. Exit code 1 if the line cannot be judged so."""
    from edge_agent.diagnostics.doctor import State, examine

    settings = place.load(config_file)
    remarks = []
    for remark in examine(settings, place.running(settings), _optimised(settings), _plans(settings)):
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
    return {row["key"]: row["sha256"] for row in _rows(settings, "SELECT key, sha256 FROM optimised", {})}


def _plans(settings: Config) -> "dict[str, Plan]":
    from edge_agent.inference.engine import own_fingerprint
    from edge_agent.inference.tuning import MOST_THREADS, Plan

    sql = "SELECT digest, variant, threads, arena, p50_ms FROM plans WHERE fingerprint = :fingerprint"
    rows = _rows(settings, sql, {"fingerprint": own_fingerprint()})
    return {
        row["digest"]: Plan(row["variant"], row["threads"], bool(row["arena"]), row["p50_ms"])
        for row in rows
        if 1 <= row["threads"] <= MOST_THREADS
    }


def _rows(settings: Config, sql: str, values: dict[str, str]) -> list[dict[str, Any]]:
    if not place.database(settings).is_file():
        return []
    try:
        return place.select(settings, sql, values)
    except StoreError:  # of an agent that is older than this table, or damaged: its next start sees to it
        return []
