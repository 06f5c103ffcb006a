"""The owner's terminal: `cloud-hub` and its verbs."""

from cloud_hub.cli.main import main

__all__ = ["main"]
