"""`cloud-hub rollout`: bring a release to gateways wave by wave, look at it, steer it, have it explained."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cloud_hub.cli import place
from cloud_hub.cli.printing import as_json, show_json, show_rows, when
from cloud_hub.clock import SystemClock
from cloud_hub.errors import ConfigError
from cloud_hub.storage.objects import Objects
from cloud_hub.updates.rollouts import create, orders, views
from cloud_hub.updates.rollouts.plan import DEADLINE_S, MIN_VERDICTS, Action, Gates, Plan, Selection, Threshold
from cloud_hub.updates.rollouts.views import DecisionView, Explanation, RolloutLine, RolloutView

F = TypeVar("F", bound=Callable[..., Any])

_ON_ITS_WAY = ("pending", "assigned", "updated")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@click.group(help="Bring a release to gateways wave by wave.")
def command() -> None:
    """The verbs below `rollout`."""


def _names(name: str, text: str) -> Callable[[F], F]:
    return click.option(name, multiple=True, help=f"{text} May be given more than once.")


@command.command(
    "create", help="Roll a signed release out. Without a selection: to every pipeline that runs BUNDLE now."
)
@click.argument("bundle")
@click.argument("version")
@click.option("--waves", default="1,50%,100%", show_default=True, help="Gateways a wave: 3, or 50% of all, or rest.")
@_names("--site", "Gateways of this site.")
@_names("--line", "Gateways of this line.")
@_names("--label", "Gateways with this label, as name=value.")
@_names("--gateway", "This gateway.")
@_names("--pipeline", "This pipeline, whatever it runs now.")
@click.option(
    "--deadline", default=f"{DEADLINE_S // 3600}h", show_default=True, help="A gateway's time: 90s, 20m, 24h, 7d."
)
@click.option("--success", default=90.0, show_default=True, help="Percent of a wave that must be updated.")
@click.option("--max-failed", default="10%", show_default=True, help="From so many, or such a share, of a wave: act.")
@click.option("--max-unknown", default="20%", show_default=True, help="The same for silent gateways.")
@click.option("--on-failure", type=click.Choice([str(each) for each in Action]), default="pause", show_default=True)
@click.option("--min-verdicts", default=MIN_VERDICTS, show_default=True, help="Signed verdicts that prove an update.")
@click.option("--max-uninspected", default=5.0, show_default=True, help="Percent of them that may be UNINSPECTED.")
@click.option("--max-ng", type=float, help="Percent of them that may be NG.")
@click.option("--ng-factor", type=float, help="NG at most so many times as often as before, on the same pipeline.")
@place.option
@place.actor_options
@as_json
def make(folder: Path, *, actor: str | None, reason: str, as_json: bool, **asked: Any) -> None:
    """Make a rollout; the hub begins it within a second."""
    settings = place.load(folder)
    doer = place.actor(actor, reason, settings.settings.hub.tenant)
    objects = Objects.open(settings.objects)
    with place.opened(settings) as database, database.writing() as connection:
        plan = _plan(create.target(connection, asked["bundle"], asked["version"], doer.tenant), asked)
        rollout = create.create(connection, objects, plan, doer, SystemClock().wall_us())
        made = views.view(connection, rollout.id)
    if as_json:
        show_json(made)
        return
    click.echo(f"rollout {rollout.id}: {made.line.bundle} {made.line.version} in {made.line.waves} waves.")
    show_rows(_member_rows(made), "")
    click.echo(f"watch it: cloud-hub rollout show {rollout.id}")


@command.command("list", help="Every rollout, the newest first.")
@place.option
@as_json
def show_all(folder: Path, *, as_json: bool) -> None:
    """Show the list."""
    with place.opened(place.load(folder)) as database, database.reading() as connection:
        found = views.lines(connection)
    if as_json:
        show_json(found)
    else:
        show_rows(
            [_line_row(each) for each in found], "no rollout was made yet: cloud-hub rollout create BUNDLE VERSION"
        )


@command.command("show", help="One rollout: waves, members with their evidence, decisions.")
@click.argument("number", metavar="ID", type=int)
@place.option
@as_json
def show(number: int, *, folder: Path, as_json: bool) -> None:
    """Show one."""
    with place.opened(place.load(folder)) as database, database.reading() as connection:
        found = views.view(connection, number)
    if as_json:
        show_json(found)
        return
    line = found.line
    click.echo(f"rollout {line.id}: {line.bundle} {line.version}, {line.state}. {line.reason}".rstrip())
    click.echo(f"by {line.actor}, {when(line.created_us)}. {line.purpose}".rstrip())
    click.echo()
    show_rows(_member_rows(found), "it has no members")
    click.echo()
    show_rows([_decision_row(each) for each in found.decisions[:20]], "nothing was decided yet")


@command.command("explain", help="Why has this gateway, or any, not been updated? Exit code 1 when one will not be.")
@click.argument("number", metavar="ID", type=int)
@click.argument("gateway", required=False)
@place.option
@as_json
def explain(number: int, gateway: str | None, *, folder: Path, as_json: bool) -> None:
    """Explain where each pipeline stands: the rule, the figures seen, the time left, the last decision."""
    with place.opened(place.load(folder)) as database, database.reading() as connection:
        found = views.explain(connection, number, gateway, SystemClock().wall_us())
    if as_json:
        show_json(found)
    elif not found:
        click.echo(f"{gateway or 'nobody'} takes no part in rollout {number}: it was not selected")
    else:
        for each in found:
            _tell(each)
    if not found or any(each.state not in _ON_ITS_WAY for each in found):
        sys.exit(1)


def _verb(name: str, help_text: str) -> None:
    @command.command(name, help=help_text)
    @click.argument("number", metavar="ID", type=int)
    @place.option
    @place.actor_options
    @as_json
    def verb(number: int, *, folder: Path, actor: str | None, reason: str, as_json: bool, revert: bool = False) -> None:
        settings = place.load(folder)
        doer = place.actor(actor, reason, settings.settings.hub.tenant)
        with place.opened(settings) as database, database.writing() as connection:
            rollout = orders.order(connection, number, "revert" if revert else name, doer, SystemClock().wall_us())
            line = views.view(connection, rollout.id).line
        if as_json:
            show_json(line)
        else:
            click.echo(f"rollout {number} is {line.state}.")

    if name == "abort":
        verb.params.append(click.Option(["--revert"], is_flag=True, help="Have what ran before given back everywhere."))


_verb("pause", "Give the release to nobody else for now.")
_verb("resume", "Go on; after a failure the failed wave is tried again.")
_verb("abort", "End it. Whoever has the release keeps it, unless --revert.")


def _plan(target: Any, asked: dict[str, Any]) -> Plan:
    labels = dict(read_label(each) for each in asked["label"])
    return Plan(
        target=target,
        selection=Selection(
            sites=asked["site"], lines=asked["line"], labels=labels, gateways=asked["gateway"],
            pipelines=asked["pipeline"],
        ),
        waves=tuple(each.strip() for each in asked["waves"].split(",")), deadline_s=_seconds(asked["deadline"]),
        success_percent=_within("--success", asked["success"]), min_verdicts=max(1, asked["min_verdicts"]),
        failure=_threshold("--max-failed", asked["max_failed"]),
        unknown=_threshold("--max-unknown", asked["max_unknown"]),
        gates=Gates(
            uninspected_percent=_within("--max-uninspected", asked["max_uninspected"]), ng_factor=asked["ng_factor"],
            ng_percent=None if asked["max_ng"] is None else _within("--max-ng", asked["max_ng"]),
        ),
        on_failure=Action(asked["on_failure"]),
    )  # fmt: skip


def read_label(text: str) -> tuple[str, str]:
    """Name and value of a label as it is written.

    Raises:
        ConfigError: it is not name=value.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        message = f"--label {text!r} is not name=value"
        raise ConfigError(message, "say for example --label stage=canary")
    return name, value


def _seconds(text: str) -> float:
    number, unit = (text[:-1], text[-1:]) if text[-1:] in _UNITS else (text, "s")
    try:
        found = float(number) * _UNITS[unit]
    except ValueError:
        found = 0.0
    if not 0 < found < 10 * 365 * 86_400:
        message = f"--deadline {text!r} is no length of time"
        raise ConfigError(message, "say for example 90s, 20m, 24h or 7d")
    return found


def _threshold(option: str, text: str) -> Threshold:
    try:
        if text.endswith("%"):
            return Threshold(percent=_within(option, float(text[:-1])))
        if int(text) > 0:
            return Threshold(count=int(text))
    except ValueError:
        pass
    message = f"{option} {text!r} is neither a number above zero nor a share"
    raise ConfigError(message, "say for example 2 or 10%")


def _within(option: str, percent: float) -> float:
    if 0 <= percent <= 100:
        return percent
    message = f"{option}: {percent:g} is no percentage"
    raise ConfigError(message, "say a number from 0 to 100")


def _line_row(line: RolloutLine) -> dict[str, object]:
    return {
        "rollout": line.id, "release": f"{line.bundle} {line.version}", "state": line.state,
        "wave": f"{line.wave} of {line.waves}",
        "members": ", ".join(f"{n} {state}" for state, n in line.states.items()),
        "made": when(line.created_us), "by": line.actor, "why it is so": line.reason,
    }  # fmt: skip


def _member_rows(found: RolloutView) -> list[dict[str, object]]:
    members = [*(each for wave in found.waves for each in wave.members), *found.excluded]
    return [
        {
            "wave": "-" if each in found.excluded else each.wave + 1, "gateway": each.gateway,
            "pipeline": each.pipeline or "-", "state": str(each.state), "verdicts": each.evidence.n,
            "p99 ms": f"{each.evidence.p99_ms:.1f}" if each.evidence.p99_ms else "-",
            "gates": " ".join(f"{gate.name}:{gate.ruling}" for gate in each.evidence.gates) or "-",
            "why": each.reason or "-",
        }
        for each in members
    ]  # fmt: skip


def _decision_row(each: DecisionView) -> dict[str, object]:
    where = " ".join(filter(None, (each.gateway, each.pipeline))) or "-"
    return {"at": when(each.at_us), "wave": each.wave, "about": where, "by": each.actor, "decision": each.text}


def _tell(each: Explanation) -> None:
    click.echo(f"{each.gateway} {each.pipeline}: {each.state}, wave {each.wave}")
    click.echo(f"  why      {each.why}")
    click.echo(f"  rule     {each.rule}")
    for seen in each.seen:
        click.echo(f"  seen     {seen}")
    if each.left_s is not None:
        click.echo(f"  left     {each.left_s:.0f} s until the deadline; then it counts as unknown")
    if each.last is not None:
        click.echo(f"  last     {when(each.last.at_us)} {each.last.text}")
