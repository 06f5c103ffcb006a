"""What a verb found comes in as rows, a table or JSON goes out: coloured on a terminal, plain in a pipe."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

_COLOURS = {"OK": "green", "NG": "red", "REVIEW": "yellow", "UNINSPECTED": "magenta", "drift": "red", "ok": "green"}

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
"""The option that every verb has."""


def show_json(value: object) -> None:
    """Print `value` as JSON."""
    click.echo(json.dumps(value, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False, default=str))


def show_rows(rows: Sequence[Mapping[str, Any]], empty: str) -> None:
    """Print rows as a table with the keys of the first as its head; `empty` says why there is none."""
    if not rows:
        click.echo(empty)
    elif sys.stdout.isatty():
        _show_rich(rows)
    else:
        _show_plain(rows)


def show_facts(facts: Mapping[str, Any]) -> None:
    """Print one fact a line."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {_text(value)}")


def _show_plain(rows: Sequence[Mapping[str, Any]]) -> None:
    names = list(rows[0])
    lines = [names, *([_text(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _show_rich(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(header_style="bold", box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(name, justify="right" if isinstance(rows[0][name], int | float) else "left")
    for row in rows:
        cells = []
        for name in rows[0]:
            text = _text(row.get(name, ""))
            colour = _COLOURS.get(text)
            cells.append(f"[{colour}]{text}[/{colour}]" if colour else escape(text))
        table.add_row(*cells)
    Console().print(table)


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "-"
    return str(value)
