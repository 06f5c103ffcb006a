"""`edge-agent`: one verb a file, each loaded only when it is asked for, so that `run` carries none of the others."""

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from edge_agent import __version__
from edge_agent.errors import AgentError
from edge_agent.inference.hardware import settle_arithmetic

VERBS = {
    "config": "check the configuration",
    "doctor": "whether this gateway can do its work, and what to do where it cannot",
    "drift": "how far live signals are from their reference",
    "explain": "why a verdict is what it is",
    "identity": "make this gateway's key and certificate request",
    "infer": "judge files with a bundle, as the line would",
    "models": "the bundles on this gateway and what runs",
    "outbox": "what waits for the hub, and the account",
    "query": "ask the database in SQL, read-only",
    "run": "run the agent",
    "status": "what the agent does now",
    "tune": "measure how models run best here",
    "trust": "whose word counts here",
    "update": "models that come from the hub, and the way back",
    "verdicts": "the last verdicts",
}


class Verbs(click.Group):
    """Loads a verb's file when it is used; lists all from the table."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the verbs."""
        del ctx
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb called `cmd_name`."""
        del ctx
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"edge_agent.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of `--help`, without loading every verb."""
        del ctx
        with formatter.section("Verbs"):
            formatter.write_dl(sorted(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="edge-agent")
def verbs() -> None:
    """Judge parts on a factory gateway and keep the record of it. Every verb takes --json."""


def main(arguments: Sequence[str] | None = None) -> Any:
    """Run a verb. Exit code 0: as asked; 1: it ran and something is not as it should be; 2: it could not run."""
    settle_arithmetic()  # before anything loads numpy, whose algebra looks for its kernels then
    try:
        return verbs.main(arguments, prog_name="edge-agent")
    except AgentError as error:
        click.echo(f"error: {error}", err=True)
        if error.hint:
            click.echo(f"  try: {error.hint}", err=True)
        sys.exit(error.exit_code)
