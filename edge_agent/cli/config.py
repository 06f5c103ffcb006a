"""`edge-agent config check`: what is wrong with the configuration, or every key as it stands."""

from pathlib import Path

import click
import msgspec

from edge_agent.cli import place
from edge_agent.cli.printing import as_json, show_json, show_rows


@click.group(help="Check the configuration.")
def command() -> None:
    """The group of verbs on the configuration."""


@command.command()
@place.option
@click.option("--keys", is_flag=True, help="List every key with its default and its meaning instead.")
@as_json
def check(config_file: Path, *, keys: bool, as_json: bool) -> None:
    """Read the configuration and print what it comes to, every default filled in. Exit code 2 if it is wrong."""
    if keys:
        _show_keys(as_json=as_json)
        return
    settings = place.load(config_file)
    builtins = msgspec.to_builtins(settings, enc_hook=str)
    if as_json:
        show_json(builtins)
        return
    for name, value in builtins.items():
        for row in value if isinstance(value, list) else [value]:
            click.echo(f"{name}: {_line(row)}")


def _show_keys(*, as_json: bool) -> None:
    from edge_agent import reference

    rows = [
        {"table": f"{k.section} {k.kind}".strip() or "(top)", "key": k.name, "default": k.default, "meaning": k.meaning}
        for k in reference.all_keys()
    ]
    if as_json:
        show_json(rows)
    else:
        show_rows(rows, "")


def _line(row: object) -> str:
    return ", ".join(f"{key} = {value!r}" for key, value in row.items()) if isinstance(row, dict) else str(row)
