"""What a verb found comes in as structs or rows; a table or JSON goes out: coloured on a terminal, plain in a pipe."""

import datetime as dt
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
"""The option that every verb has."""

_COLOURS = {"yes": "green", "NO": "red", "drift": "red", "ok": "green", "offline": "yellow"}


def show_json(value: object) -> None:
    """Print a value, structs included, as JSON."""
    raw = msgspec.json.encode(value)
    click.echo((msgspec.json.format(raw) if sys.stdout.isatty() else raw).decode())


def show_rows(rows: Sequence[Mapping[str, Any]], empty: str) -> None:
    """Print rows as a table with the keys of the first as its head; `empty` says why there is none."""
    if not rows:
        click.echo(empty)
    elif sys.stdout.isatty():
        _show_rich(rows)
    else:
        _show_plain(rows)


def when(at_us: int) -> str:
    """A time for people, in their own time zone; a dash where there is none."""
    if not at_us:
        return "-"
    return dt.datetime.fromtimestamp(at_us / 1_000_000, dt.UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _show_plain(rows: Sequence[Mapping[str, Any]]) -> None:
    lines = [[str(name) for name in rows[0]], *([str(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(rows[0]))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _show_rich(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold", box=None, pad_edge=False)
    for name, value in rows[0].items():
        table.add_column(name, justify="right" if isinstance(value, int) else "left")
    for row in rows:
        table.add_row(*(Text(str(value), style=_COLOURS.get(str(value), "")) for value in row.values()))
    Console().print(table)
