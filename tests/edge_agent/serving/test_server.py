import json
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from edge_agent.errors import ConfigError
from edge_agent.serving import connection
from edge_agent.serving.server import MAX_CONNECTIONS, Server
from edge_agent.serving.site import SMALL_BYTES
from tests.edge_agent.serving.asking import TOKEN, Agent, ask, say

EXPECTANT = b"GET /status HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"])
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
    """404 tells what there is, 405 how it is asked; HEAD is GET without its body."""
    status, _, body = ask(server, "/metricz")

    assert status == 404
    assert "/metrics" in json.loads(body)["hint"]
    assert ask(server, "/status", "POST")[0] == 405
    assert ask(server, "/status", "HEAD")[2] == b""


def test_an_answer_that_fails_ends_nothing(server: Server, agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
    """A bug behind one question is a 500 for it and a trace in the log, and the next question is answered."""
    agent.reasons.append("broken")

    statuses = [ask(server, "/status")[0], ask(server, "/metrics")[0]]

    assert statuses == [500, 200]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_connection_serves_many_questions(server: Server) -> None:
    """Requests that come at once are answered one after the other, the last one ends it."""
    one = b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"

    answers = say(
        server, one + b"\r\n" + one + one.replace(b"Host: localhost", b"Host: localhost\r\nConnection: close") + one
    )

    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert answers.count(b'{"gateway":"press-1"}') == 3


def test_a_body_is_read_to_its_end_and_no_further(server: Server) -> None:
    """What stands in a body is never taken for a request."""
    inner = b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    outer = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(inner)

    answers = say(server, outer + inner)

    assert answers.count(b"HTTP/1.1 ") == 1
    assert b"live" in answers


def test_a_body_that_is_too_long_is_not_read(server: Server) -> None:
    """The length is refused, and the connection ends."""
    refused = say(server, EXPECTANT % (SMALL_BYTES + 1))

    assert refused.startswith(b"HTTP/1.1 413 ")
    assert b"Connection: close" in refused


def test_who_waits_to_be_told_sends_its_body_then(server: Server) -> None:
    """A client with a long body asks first, as curl does, and hears that it may go on."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(EXPECTANT % 1)
        told = sock.recv(1000)
        sock.sendall(b"x")
        answer = sock.recv(1000)

    assert told == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.startswith(b"HTTP/1.1 200 OK")


def test_a_body_that_ends_early_is_told(server: Server) -> None:
    """Half a body is no question."""
    answer = say(server, b"GET /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc")

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"3 of 9 bytes" in answer


def test_bodies_together_have_a_limit(monkeypatch: pytest.MonkeyPatch, serve: Callable[..., Server]) -> None:
    """Where the memory for bodies is taken, the next one is told to come back."""
    monkeypatch.setattr("edge_agent.serving.server.BODIES_BYTES", 10)

    answer = say(serve(), b"GET /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\n" + bytes(11))

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1" in answer


def test_what_a_body_took_is_given_back(monkeypatch: pytest.MonkeyPatch, serve: Callable[..., Server]) -> None:
    """One after the other, bodies may together be longer than the memory for them."""
    monkeypatch.setattr("edge_agent.serving.server.BODIES_BYTES", 10)
    one = b"GET /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\n" + bytes(8)

    assert say(serve(), one * 4).count(b"HTTP/1.1 200 OK") == 4


def test_a_head_without_end_is_refused(server: Server) -> None:
    """Its memory is bounded."""
    assert say(server, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 3000).startswith(b"HTTP/1.1 431 ")


def test_a_compressed_body_is_refused_with_its_name(server: Server) -> None:
    """It would be a bomb, or garbage to the parser."""
    status, _, body = ask(server, "/status", body=b"x", headers={"Content-Encoding": "gzip"})

    assert status == 415
    assert "compressed" in json.loads(body)["error"]


def test_a_silent_neighbour_does_not_stay(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """A connection that asks nothing is closed after a while."""
    monkeypatch.setattr(connection, "IDLE_S", 1)
    monkeypatch.setattr(connection, "READ_S", 1)

    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        assert sock.recv(1) == b""


def test_a_head_that_comes_drop_by_drop_is_given_up(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """Its time is counted from its first byte, not from its last."""
    monkeypatch.setattr(connection, "READ_S", 1)
    drops: list[int] = []

    with socket.create_connection(("127.0.0.1", server.port), timeout=0.1) as sock, suppress(ConnectionError):
        while len(drops) < 100:
            drops.append(sock.send(b"G"))
            with suppress(TimeoutError):
                assert sock.recv(1) == b""
                break

    assert 1 < len(drops) < 100


def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """Nor does one stay that promises a body and does not send it, or a head without its end."""
    monkeypatch.setattr(connection, "READ_S", 1)

    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as one,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as other,
    ):
        one.sendall(b"GET /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc")
        other.sendall(b"GET /status HTT")
        told = one.recv(1000), other.recv(1000)

    assert told[0].startswith(b"HTTP/1.1 408 ")
    assert told[1] == b""


def test_the_newest_neighbour_is_heard(server: Server) -> None:
    """When all connections are taken, those that have been silent longest go."""
    idle = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(MAX_CONNECTIONS + 2)]

    status = ask(server, "/health/live")[0]
    gone = [each.recv(1) for each in idle[:3]]

    for each in idle:
        each.close()
    assert status == 200
    assert gone == [b""] * 3


def test_a_busy_port_is_refused_with_a_cure(server: Server) -> None:
    """A port that somebody has is one line of cause, one of cure, exit 2."""
    with pytest.raises(
        ConfigError, match=f"cannot listen on 127.0.0.1:{server.port}: Address already in use"
    ) as caught:
        Server("127.0.0.1", server.port)

    assert "[serving] port" in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_that_is_not_ours_is_refused(host: str, tmp_path: Path) -> None:
    """A host that cannot be listened on is named."""
    (tmp_path / "token").write_text(TOKEN)

    with pytest.raises(ConfigError, match=f"cannot listen on {host}"):
        Server(host, 0, token_file=tmp_path / "token")


def test_a_closed_server_lets_go_of_its_port(agent: Agent) -> None:
    """After `close` the port is free, and closing again is nothing."""
    server = Server("127.0.0.1", 0)
    server.start(agent.site())
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


def test_a_slow_answer_holds_up_nobody_else(server: Server, agent: Agent) -> None:
    """Each connection has a thread of its own."""
    agent.reasons.append("slow")
    slow = threading.Thread(target=ask, args=(server, "/status"))
    slow.start()
    agent.asked.wait(10)

    answered = ask(server, "/metrics")[0]

    agent.go_on.set()
    slow.join(10)
    assert answered == 200
