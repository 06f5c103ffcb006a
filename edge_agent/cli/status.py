"""`edge-agent status`: asked of the running agent over local HTTP, and of its database when it does not run."""

from pathlib import Path
from typing import Any

import click

from edge_agent.cli import live, place
from edge_agent.cli.printing import as_json, show_facts, show_json, show_rows
from edge_agent.config import Config


@click.command(help="What the agent does now.")
@place.option
@as_json
def command(config_file: Path, *, as_json: bool) -> None:
    """Show what runs, what it has judged and what is wrong. Exit code 1 if the agent does not run or has a fault."""
    settings = place.load(config_file)
    found = ask(settings)
    if as_json:
        show_json(found)
    else:
        _show(found)
    if not found["running"] or found["faults"]:
        raise SystemExit(1)


def ask(settings: Config) -> dict[str, Any]:
    """What the agent says; what its database says when it does not run.

    Raises:
        ConfigError: as `live.status`, and where it has not run yet.
    """
    from edge_protocol.ranges import count

    told = live.status(settings)
    if told is None:
        return {"gateway": settings.gateway.id, "running": False, "faults": [], **place.recorded(settings)}
    state = told["state"]
    waiting = {
        f"{each['stream']}": count(tuple((first, last) for first, last in each.get("held", ())))
        for each in state.get("streams", ())
    }
    return {
        "gateway": state["gateway"],
        "running": True,
        "faults": told["faults"],
        "agent_version": state["agent_version"],
        "clock": state["time"].get("clock", "ok"),
        "updates": told["updates"],
        "waiting_for_hub": waiting,
        "pipelines": state["pipelines"],
        "drift": told["drift"],
        "limits": told.get("limits", {}),
    }


def _show(found: dict[str, Any]) -> None:
    facts: dict[str, Any] = {
        key: found[key] for key in ("gateway", "agent_version", "clock", "updates", "waiting_for_hub") if key in found
    }
    faults = found["faults"]
    show_facts({**facts, "running": "yes" if found["running"] else "no", "faults": len(faults) or "none"})
    for fault in faults:
        click.echo(f"  {fault}")
    names = ("name", "model", "version", "variant", "triggers", "verdicts", "p50_ms", "p99_ms")
    show_rows([{key: row.get(key) for key in names if key in row} for row in found["pipelines"]], "no pipeline yet")
    limits = [
        {"pipeline": name, "trusted": signal, "from": low, "to": high}
        for name, each in found.get("limits", {}).items()
        for signal, (low, high) in each.items()
    ]
    if limits:
        show_rows(limits, "")
