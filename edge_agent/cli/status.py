"""`edge-agent status`: asked of the running agent over local HTTP, and of its database when it does not run."""

import http.client
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from edge_agent.cli import place
from edge_agent.cli.printing import as_json, show_facts, show_json, show_rows
from edge_agent.config import Config
from edge_agent.settings.bearer import read_token

TIMEOUT_S = 5.0


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
    """What the agent says; what its database says when it does not run."""
    from edge_protocol.ranges import count

    live = _ask_live(settings)
    if live is None:
        return {"gateway": settings.gateway.id, "running": False, "faults": [], **place.recorded(settings)}
    state = live["state"]
    waiting = {
        f"{each['stream']}": count(tuple((first, last) for first, last in each.get("held", ())))
        for each in state.get("streams", ())
    }
    return {
        "gateway": state["gateway"],
        "running": True,
        "faults": live["faults"],
        "agent_version": state["agent_version"],
        "clock": state["time"].get("clock", "ok"),
        "updates": live["updates"],
        "waiting_for_hub": waiting,
        "pipelines": state["pipelines"],
        "drift": live["drift"],
        "limits": live.get("limits", {}),
    }


def _ask_live(settings: Config) -> Any:
    told = settings.data_dir / "serving.json"
    # Without its token an agent that runs would look as if it did not.
    headers = _token(settings.serving.token_file) if told.exists() else {}
    try:
        address = json.loads(told.read_bytes())
        with closing(http.client.HTTPConnection(address["host"], address["port"], timeout=TIMEOUT_S)) as connection:
            connection.request("GET", "/status", headers=headers)
            answer = json.loads(connection.getresponse().read())
    except (OSError, ValueError, KeyError, http.client.HTTPException):
        return None
    # A port that another gateway has by now answers too, with another name.
    return answer if answer.get("state", {}).get("gateway") == settings.gateway.id else None


def _token(file: Path | None) -> dict[str, str]:
    return {} if file is None else {"Authorization": f"Bearer {read_token(file, '[serving]')}"}


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
