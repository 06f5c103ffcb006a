"""`edge-agent run`: the agent in the foreground until it is told to stop."""

import logging
import os
import signal
import sys
import threading
from pathlib import Path

import click

from edge_agent.cli import place


@click.command(help="Run the agent.")
@place.option
@click.option("--verbose", "-v", is_flag=True, help="Log more.")
@click.option("--json", "as_json", is_flag=True, help="Log one JSON object a line, for journald and its readers.")
def command(config_file: Path, *, verbose: bool, as_json: bool) -> None:
    """Judge until SIGTERM or Ctrl-C, then end in order. Exit code 1: a part of it failed; what restarts it goes on."""
    _log(as_json=as_json, level=logging.DEBUG if verbose else logging.INFO)
    settings = place.load(config_file)
    from edge_agent.agent import Agent
    from edge_agent.inference import memory

    memory.settle()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    agent = Agent(settings)
    log = logging.getLogger("edge_agent")
    agent.run(stop, lambda: log.info("gateway %s is ready, process %d", settings.gateway.id, os.getpid()))


def _log(*, as_json: bool, level: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if as_json else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])


class _Json(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of `record`."""
        import json

        fields = {"at": record.created, "level": record.levelname, "name": record.name, "message": record.getMessage()}
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(fields)
