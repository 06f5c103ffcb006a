"""`edge-agent trust show`: whose word counts here, and what follows from it. Needs no network, changes nothing."""

from pathlib import Path
from typing import Any

import click
import msgspec

from edge_agent.cli import place
from edge_agent.cli.printing import as_json, show_facts, show_json, show_rows
from edge_agent.config import Config
from edge_agent.errors import IdentityError
from edge_agent.updates.view import TrustView

_KEY_CHARS = 12


@click.group(help="Whose word counts here.")
def command() -> None:
    """The group of verbs on trust."""


@command.command()
@place.option
@as_json
def show(config_file: Path, *, as_json: bool) -> None:
    """Show roots, roles with their keys and expiries, floors, and what each pipeline should run, or why not.

    Exit code 1 if a repository was never heard or a role has expired.
    """
    found = look(place.load(config_file))
    if as_json:
        show_json(msgspec.to_builtins(found))
    else:
        _show(found)
    if any(each.problem for each in found.repositories) or any(role.is_expired for role in found.roles):
        raise SystemExit(1)


def look(settings: Config) -> TrustView:
    """What this gateway trusts.

    Raises:
        IdentityError: it was not given the first roots: it takes no updates.
    """
    from edge_agent.clock import Clock
    from edge_agent.updates import floors, trust, view

    identity = settings.identity
    try:
        roots = trust.load_roots(identity.models_root_file, identity.director_root_file)
    except OSError as error:
        message = f"{error.filename}: {error.strerror}"
        raise IdentityError(message, "make it readable for this user") from error
    if roots is None:
        message = f"{identity.models_root_file} or {identity.director_root_file.name} is not there: updates are off"
        raise IdentityError(message, "enrol the gateway at its hub and put both beside hub-keys.json")
    known = floors.Floors({}, {})
    if place.database(settings).is_file():
        with place.reading(settings) as connection:
            known = floors.read(connection)
    pipelines = [pipeline.name for pipeline in settings.pipelines]
    folder = settings.data_dir / trust.FOLDER
    gateway, now_us = settings.gateway.id, Clock().wall_us()
    return view.look(folder, roots, known, gateway=gateway, pipelines=pipelines, now_us=now_us)


def _show(found: TrustView) -> None:
    show_rows([msgspec.to_builtins(each) for each in found.repositories], "")
    if found.roles:
        click.echo()
        show_rows([_role_row(msgspec.to_builtins(role)) for role in found.roles], "")
    click.echo()
    show_facts({"floors": found.floors or "none", "expired publishers": list(found.silent) or "none"})
    click.echo()
    rows = [{**msgspec.to_builtins(each), "digest": each.digest[:_KEY_CHARS]} for each in found.pipelines]
    show_rows(rows, "no pipeline is configured")


def _role_row(role: dict[str, Any]) -> dict[str, Any]:
    """The role as a line: keys by the beginning of their ids."""
    names = ("repository", "role", "version", "expires")
    state = "expired" if role["is_expired"] else ""
    keys = f"{role['threshold']} of {', '.join(key[:_KEY_CHARS] for key in role['keys'])}"
    return {**{name: role[name] for name in names}, "state": state, "keys": keys, "paths": role["paths"]}
