"""The voice of the day: sentences and figures come in, a page goes out, coloured on a terminal, plain in a pipe."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from scripts.day.account import Account
from scripts.day.tape import Told

WIDTH = 100
INDENT = " " * 6
EXPECTED_S = 150
"""About how long a day takes, for the bar."""

VERDICT_STYLES = {"OK": "green", "NG": "bold red", "REVIEW": "yellow", "UNINSPECTED": "magenta"}


class Narrator:
    """Tells the day on a console, with the time since it began before each passage."""

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(highlight=False)
        if console.width > WIDTH or not console.is_terminal:
            console.width = WIDTH
        self.console = console
        self._began_s = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Since the day began."""
        return time.monotonic() - self._began_s

    def title(self, heading: str, text: str) -> None:
        """What this is. The time is counted from here."""
        self._began_s = time.monotonic()
        self.console.print()
        self.console.rule(Text(heading, "bold"), align="left", style="dim")
        self._indented(Text(text))

    def scene(self, letter: str, heading: str, text: str) -> None:
        """A new scene: what will happen and why one should look."""
        self.console.print()
        self.console.print(Text.assemble((f"{self._clock()}  ", "dim"), (f"{letter}. {heading}", "bold cyan")))
        self._indented(Text(text))

    def say(self, text: str, style: str = "") -> None:
        """A sentence or two on what happened."""
        self._indented(Text(text, style))

    def pause(self) -> None:
        """A breath."""
        self.console.print()

    def proof(self, text: str, *, holds: bool) -> None:
        """A sentence that was checked."""
        mark = ("✓ ", "bold green") if holds else ("✗ ", "bold red")
        self._indented(Text.assemble(mark, text))

    def verdict(self, gateway: str, told: Told, remark: str) -> None:
        """One verdict as the line was told it."""
        line = Text.assemble(
            f"{gateway:<8} part {told.trigger:<6} ",
            (f"{told.verdict:<12}", VERDICT_STYLES.get(told.verdict, "")),
            f"{told.reason.lower() if told.score is None else f'score {told.score:.3f}':<13} ",
            f"{told.latency_ms:6.1f} ms   ",
            (remark, "dim"),
        )
        self._indented(line)

    def leave(self, address: str, folder: Path) -> None:
        """All goes on: how to look at it, play with it and end it."""
        self.scene("*", "Everything goes on running", "What can be done with it:")
        for what, how in (
            ("dashboard, by a link that works once", address),
            ("cut a network", f"touch {folder}/network/press-1.cut"),
            ("and mend it", f"rm {folder}/network/press-1.cut"),
            ("change a light", f"echo 0.7 > {folder}/press-1/light"),
            ("ask a gateway", f".venv/bin/edge-agent status -c {folder}/press-1/gateway.toml"),
            ("end everything", "scripts/demo --stop"),
        ):
            self.fact(what, how)

    def fact(self, what: str, how: object) -> None:
        """One thing to know or to type, never broken into two lines."""
        self.console.print(Text.assemble(INDENT, (f"{what}: ", "dim"), str(how)), soft_wrap=True)

    def lines(self, lines: Sequence[Text]) -> None:
        """Lines that are laid out already."""
        for line in lines:
            self._indented(line)

    def account(self, account: Account) -> None:
        """The account of a gateway as an equation."""
        line = Text()
        for n, word, style in (
            (account.produced, " produced = ", "bold"),
            (account.archived, " archived + ", "bold green"),
            (account.buffered, " buffered + ", "bold yellow"),
            (account.declared, " declared", "bold"),
        ):
            line.append(f"{n:,}", style).append(word)
        if account.lost:
            line.append(f"   {account.lost:,} are missing", "bold red")
        self._indented(line)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table; what looks like a number stands right."""
        table = Table(box=None, pad_edge=False, header_style="dim")
        for i, name in enumerate(columns):
            is_number = all(isinstance(row[i], int | float) for row in rows)
            table.add_column(name, justify="right" if is_number else "left")
        for row in rows:
            table.add_row(*map(_cell, row))
        self._indented(table)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """On a terminal, show what is waited for and how far the day has come."""
        if not self.console.is_terminal:
            yield
            return
        spinner = Spinner("dots", Text(what))

        def status() -> Table:
            line = Table.grid(padding=(0, 2))
            line.add_row(spinner, ProgressBar(EXPECTED_S, self.elapsed_s, width=20), Text(self._clock(), "dim"))
            return line

        with Live(get_renderable=status, console=self.console, transient=True, refresh_per_second=6):
            yield

    def _clock(self) -> str:
        minutes, seconds = divmod(int(self.elapsed_s), 60)
        return f"{minutes}:{seconds:02}"

    def _indented(self, what: Text | Table) -> None:
        room = self.console.width - len(INDENT)
        if isinstance(what, Table):
            self.console.print(Padding(what, (0, 0, 0, len(INDENT)), expand=False))
            return
        for line in what.wrap(self.console, room):
            line.rstrip()
            self.console.print(Text.assemble(INDENT, line), soft_wrap=True)


def _cell(value: object) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
