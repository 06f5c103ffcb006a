"""`edge-agent update`: what each pipeline runs and should run, how it came to it, and the way back by hand."""

import getpass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import click

from edge_agent import identity
from edge_agent.cli import live, place
from edge_agent.cli.printing import as_json, show_json, show_rows
from edge_agent.config import Config
from edge_agent.errors import ConfigError

WAIT_S = 15.0
"""How long to wait until the running agent has done what it was asked."""

_SLOTS = "SELECT * FROM slots WHERE pipeline = :pipeline"
_LAST = "SELECT * FROM updates WHERE pipeline = :pipeline ORDER BY id DESC LIMIT 1"
_POINTS = "SELECT body FROM points WHERE pipeline = :pipeline"
_HISTORY = (
    "SELECT at_us, pipeline, step, bundle, version, digest, rollout, refusal, detail, actor FROM updates "
    "WHERE (:pipeline = '' OR pipeline = :pipeline) ORDER BY id DESC LIMIT :limit"
)


@click.group(help="Models that come from the hub: what runs, what was refused, the way back.")
def command() -> None:
    """The group of verbs on updates."""


@command.command()
@place.option
@as_json
def status(config_file: Path, *, as_json: bool) -> None:
    """Show what each pipeline runs and should run. Exit code 1 if something is refused or was given back."""
    settings = place.load(config_file)
    rows = [_status(settings, table.name) for table in settings.pipelines]
    why = identity.why_no_updates(settings)
    if as_json:
        show_json({"updates": why or "on", "pipelines": rows})
    else:
        click.echo(f"updates are {why or 'on'}")
        names = ("pipeline", "runs", "version", "digest", "judges_by", "since", "before", "step", "wanted", "refusal")
        show_rows([{name: row[name] or None for name in names} for row in rows], "no pipeline yet")
        _explain(rows)
    if any(row["refusal"] for row in rows):
        raise SystemExit(1)


@command.command()
@place.option
@click.option("--pipeline", default="", help="Only of this pipeline.")
@click.option("--limit", "-n", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many.")
@as_json
def history(config_file: Path, pipeline: str, limit: int, *, as_json: bool) -> None:
    """Show the steps of past updates, the newest first."""
    rows = place.select(place.load(config_file), _HISTORY, {"pipeline": pipeline, "limit": limit})
    told = [{"at": _time(row.pop("at_us")), **row} for row in rows]
    if as_json:
        show_json(told)
        return
    names = ("at", "pipeline", "step", "bundle", "version", "refusal", "detail", "actor")
    show_rows([{name: row[name] or None for name in names} for row in told], "nothing was ever updated")


@command.command()
@click.argument("pipeline")
@click.option("--reason", required=True, help="Why: it goes on record with your name.")
@place.option
@as_json
def rollback(config_file: Path, pipeline: str, reason: str, *, as_json: bool) -> None:
    """Put the model before this one back on PIPELINE. The present one is refused until the hub offers it anew."""
    from edge_agent.updates import requests

    settings = place.load(config_file)
    row = _slot(settings, pipeline)
    before = _check_return(settings, pipeline, row)
    request = requests.Rollback(pipeline=pipeline, digest=row["digest"], actor=getpass.getuser(), reason=reason)
    try:
        path = requests.write(settings.data_dir / "requests", request)
    except OSError as error:
        message = f"{settings.data_dir / 'requests'} cannot be written: {error.strerror}"
        raise ConfigError(message, "run this as the agent's user") from error
    done = _await(settings, pipeline, path, row["digest"])
    found = {"pipeline": pipeline, "from": row["version"], "to": before, "done": done}
    if as_json:
        show_json(found)
    elif done:
        click.echo(f"{pipeline} runs {row['bundle']} {before} again; {row['version']} is refused: {reason}")
    else:
        click.echo(f"asked for: {pipeline} goes back to {before} as soon as the agent runs; see edge-agent status")
    if not done:
        raise SystemExit(1)


def _status(settings: Config, pipeline: str) -> dict[str, Any]:
    slot = next(iter(place.select(settings, _SLOTS, {"pipeline": pipeline})), None)
    last = next(iter(place.select(settings, _LAST, {"pipeline": pipeline})), None)
    row: dict[str, Any] = {"pipeline": pipeline, **_running(settings, pipeline, slot), "before": "", "since": ""}
    if slot is not None:
        row |= {"before": _version_of(settings, slot["previous"]), "since": _time(slot["since_us"])}
    row["judges_by"] = _point_of(settings, pipeline, row["digest"])
    row |= {"step": "", "wanted": "", "refusal": "", "detail": "", "hint": "", "actor": ""}
    if last is not None:
        row |= {name: last[name] for name in ("step", "refusal", "detail", "actor")}
        if last["digest"][:12] != row["digest"]:
            row["wanted"] = f"{last['bundle']} {last['version']}".strip() or "a release"
        row["hint"] = _cure(last["refusal"])
    return row


def _running(settings: Config, pipeline: str, slot: dict[str, Any] | None) -> dict[str, Any]:
    """What the row says; without one, the bundle that was placed by hand."""
    if slot is not None:
        return {"runs": slot["bundle"], "version": slot["version"], "digest": slot["digest"][:12]}
    from edge_protocol import bundle
    from edge_protocol.errors import ManifestError

    name = next(table.bundle for table in settings.pipelines if table.name == pipeline)
    try:
        manifest, digest = bundle.read(settings.data_dir / "bundles" / name)
    except ManifestError:
        return {"runs": name, "version": "", "digest": ""}
    return {"runs": manifest.name, "version": manifest.version, "digest": digest[:12]}


def _explain(rows: list[dict[str, Any]]) -> None:
    """Below the table: why, by whom, and what to do."""
    for row in rows:
        if row["refusal"]:
            by = f" (by {row['actor']})" if row["actor"] else ""
            click.echo(f"\n{row['pipeline']}: {row['wanted'] or row['version']} {row['step']}, {row['refusal']}{by}")
            click.echo(f"  {row['detail']}\n  try: {row['hint']}")


def _slot(settings: Config, pipeline: str) -> dict[str, Any]:
    if pipeline not in [table.name for table in settings.pipelines]:
        message = f"there is no pipeline {pipeline!r}"
        raise ConfigError(message, f"it has {', '.join(table.name for table in settings.pipelines)}")
    found = place.select(settings, _SLOTS, {"pipeline": pipeline})
    if not found or not found[0]["previous"]:
        message = f"there is no model before the one that {pipeline} runs"
        raise ConfigError(message, "roll out another version from the hub; edge-agent update history shows what was")
    return found[0]


def _check_return(settings: Config, pipeline: str, row: dict[str, Any]) -> str:
    """The version before, if it may run."""
    from edge_agent.updates import floors
    from edge_protocol import bundle
    from edge_protocol.agreement import is_below
    from edge_protocol.errors import ManifestError

    try:
        manifest, _ = bundle.read(settings.data_dir / "slots" / row["previous"])
    except ManifestError as error:
        message = f"the model before the one that {pipeline} runs is damaged: {error}"
        raise ConfigError(message, "roll it out from the hub again") from error
    with place.reading(settings) as connection:
        floor = floors.read(connection).bundles.get(manifest.name, "")
    if is_below(manifest.version, floor):
        message = f"BelowFloor: {manifest.name} {manifest.version} is below the publisher's floor {floor}"
        raise ConfigError(message, "it may not run any more; roll out a version at or above the floor")
    return manifest.version


def _await(settings: Config, pipeline: str, path: Path, digest: str) -> bool:
    """Whether the agent has done it in time."""
    end_s = monotonic() + WAIT_S
    is_running = live.listens(settings)
    while is_running and path.exists() and monotonic() < end_s:
        sleep(0.1)
    found = place.select(settings, _SLOTS, {"pipeline": pipeline})
    return bool(found) and found[0]["digest"] != digest


def _point_of(settings: Config, pipeline: str, digest: str) -> str:
    """The operating point that takes the place of the bundle's own; empty: none does."""
    from edge_protocol import points
    from edge_protocol.errors import DecodeError

    for row in place.select(settings, _POINTS, {"pipeline": pipeline}):
        try:
            point = points.parse(row["body"])
        except DecodeError:
            continue
        if point.digest[:12] == digest:
            return f"{point.name} {point.version}"
    return ""


def _version_of(settings: Config, digest: str) -> str:
    from edge_protocol import bundle
    from edge_protocol.errors import ManifestError

    if not digest:
        return ""
    try:
        return bundle.read(settings.data_dir / "slots" / digest)[0].version
    except ManifestError:
        return digest[:12]


def _cure(refusal: str) -> str:
    from edge_protocol.updates import CURES, Refusal

    return CURES[Refusal(refusal)] if refusal else ""


def _time(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
