import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from edge_agent.errors import ConfigError
from edge_agent.serving.http import Answers, Server
from edge_agent.serving.metrics import Metrics


class Agent:
    """An agent to ask: what is wrong with it is put in `reasons`."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def status(self) -> dict[str, Any]:
        """What `edge-agent status` shows."""
        if self.reasons == ["broken"]:
            message = "a bug"
            raise ZeroDivisionError(message)
        return {"gateway": "press-1"}


@pytest.fixture
def agent() -> Agent:
    """An agent that is well."""
    return Agent()


@pytest.fixture
def server(agent: Agent) -> Iterator[Server]:
    """A server that answers for the agent, on any free port."""
    answers = Answers(Metrics().render, lambda: agent.reasons, lambda: agent.reasons, agent.status)
    made = Server("127.0.0.1", 0)
    made.start(answers)
    yield made
    made.close()


def ask(server: Server, path: str, method: str = "GET") -> tuple[int, str, bytes]:
    """Status, content type and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.headers["Content-Type"], response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_health_says_what_is_wrong(server: Server, agent: Agent, path: str) -> None:
    """200 when all is well, 503 with the reasons when it is not."""
    name = path.rpartition("/")[2]

    well = ask(server, path)
    agent.reasons.append("pipeline surface has no model")
    ill = ask(server, path)

    assert (well[0], json.loads(well[2])) == (200, {name: True, "reasons": []})
    assert (ill[0], json.loads(ill[2])) == (503, {name: False, "reasons": ["pipeline surface has no model"]})


def test_status_is_json(server: Server) -> None:
    """The status is what the agent gives, as JSON."""
    status, kind, body = ask(server, "/status?pretty")

    assert (status, kind, json.loads(body)) == (200, "application/json", {"gateway": "press-1"})


def test_metrics_are_what_prometheus_reads(server: Server) -> None:
    """The metrics come in Prometheus' text form."""
    status, kind, body = ask(server, "/metrics")

    assert status == 200
    assert kind.startswith("text/plain; version=0.0.4")
    assert b"lineside_rss_bytes " in body


def test_an_unknown_question_names_the_known_ones(server: Server) -> None:
    """404 tells what there is; nothing but GET and HEAD is understood."""
    status, _, body = ask(server, "/metricz")

    assert status == 404
    assert "/metrics" in json.loads(body)["hint"]
    assert ask(server, "/status", "POST")[0] == 501
    assert ask(server, "/status", "HEAD")[2] == b""


def test_an_answer_that_fails_ends_nothing(server: Server, agent: Agent) -> None:
    """A bug behind one question is a 500 for it, and the next question is answered."""
    agent.reasons.append("broken")

    statuses = [ask(server, "/status")[0], ask(server, "/metrics")[0]]

    assert statuses == [500, 200]


def test_a_busy_port_is_refused_with_a_cure(server: Server) -> None:
    """A port that somebody has is one line of cause, one of cure, exit 2."""
    with pytest.raises(
        ConfigError, match=f"cannot listen on 127.0.0.1:{server.port}: Address already in use"
    ) as caught:
        Server("127.0.0.1", server.port)

    assert "[serving] port" in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_that_is_not_ours_is_refused(host: str) -> None:
    """A host that cannot be listened on is named."""
    with pytest.raises(ConfigError, match=f"cannot listen on {host}"):
        Server(host, 0)


def test_a_closed_server_lets_go_of_its_port() -> None:
    """After `close` the port is free, and closing again is nothing."""
    server = Server("127.0.0.1", 0)
    server.start(Answers(bytes, list, list, dict))
    port = server.port

    server.close()
    server.close()

    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def test_closing_does_not_wait_for_a_silent_neighbour(server: Server) -> None:
    """A connection that never asks holds up neither others nor the end."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5):
        answered = ask(server, "/health/live")[0]
        server.close()

    assert answered == 200
