"""Servers that answer for an agent which is well."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge_agent.serving.server import Server
from tests.edge_agent.serving.asking import Agent


@pytest.fixture
def agent() -> Agent:
    """An agent that is well."""
    return Agent()


@pytest.fixture
def serve(agent: Agent) -> Iterator[Callable[..., Server]]:
    """Servers that answer for the agent, on any free port."""
    made: list[Server] = []

    def make(host: str = "127.0.0.1", **more: Any) -> Server:
        made.append(Server(host, 0, **more))
        made[-1].start(agent.site())
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    """One on loopback."""
    return serve()
