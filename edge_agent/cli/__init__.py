"""The operator's terminal: `edge-agent` and its verbs. Reads the gateway's data from a process of its own."""

from edge_agent.cli.main import main

__all__ = ["main"]
