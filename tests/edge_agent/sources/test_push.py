"""The laws of parts that the line sends by HTTP."""

import http.client
import json
import socket
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent import settings
from edge_agent.errors import SourceError
from edge_agent.sample import Trigger
from edge_agent.sources.push import PushSource
from edge_agent.sources.reception import MAX_CONNECTIONS, MAX_LARGE
from edge_protocol.codes import Reason, Verdict
from tests.edge_agent.sources.streams import PATIENCE_S, eventually

WINDOW = b'{"signal": [1, 2]}'


@dataclass
class Answer:
    """What the sender was told."""

    status: int
    headers: http.client.HTTPMessage
    body: Any


class Line:
    """A source on a port of its own, and senders."""

    def __init__(self, **keys: Any) -> None:
        self.source = PushSource(settings.PushSource(name="cell", port=0, **{"take_s": PATIENCE_S, **keys}))
        self.source.open()
        self._senders = ThreadPoolExecutor(8)

    def post(
        self, body: bytes = WINDOW, kind: str = "application/json", path: str = "/parts", **headers: str
    ) -> Answer:
        """Send a part and wait for the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.source.port, timeout=PATIENCE_S)
        try:
            named = {key.replace("_", "-"): text for key, text in headers.items()}
            connection.request("POST", path, body, {"Content-Type": kind, **named})
            response = connection.getresponse()
            return Answer(response.status, response.headers, json.loads(response.read() or b"null"))
        finally:
            connection.close()

    def send(self, *args: Any, **keys: Any) -> "Future[Answer]":
        """Send a part and go on."""
        return self._senders.submit(self.post, *args, **keys)

    def take(self, n: int) -> Any:
        """The sample of trigger `n`, once somebody has sent one."""
        eventually(lambda: self.source.waiting(0))
        return self.source.grab(Trigger(3, n, 0, 0))

    def judge(self, n: int, verdict: Verdict) -> None:
        """Give trigger `n` its verdict."""
        self.source.done(Trigger(3, n, 0, 0), verdict)

    def close(self) -> None:
        """End."""
        self.source.close()
        self._senders.shutdown()


@pytest.fixture
def line() -> Iterator[Callable[..., Line]]:
    """Makes sources and closes them."""
    made: list[Line] = []

    def make(**keys: Any) -> Line:
        made.append(Line(**keys))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_whoever_sends_a_part_is_told_its_trigger(line: Callable[..., Line]) -> None:
    """202 with the number under which its verdict is found, once a trigger has it."""
    cell = line()
    sent = cell.send(Lineside_Part="P-ü".encode().decode("latin-1"), Lineside_Lot="L9", Lineside_Number="41")

    sample = cell.take(7)
    answer = sent.result(PATIENCE_S)

    assert (answer.status, answer.body) == (202, {"epoch": 3, "trigger": 7, "part": "P-ü"})
    assert (sample.part, sample.lot, sample.number, sample.replayed) == ("P-ü", "L9", 41, False)
    assert sample.channels["signal"].data.tolist() == [1, 2]


def test_whoever_waits_is_told_the_verdict(line: Callable[..., Line]) -> None:
    """With `wait` the answer is the part's verdict, the worst of all pipelines."""
    cell = line()
    sent = cell.send(path="/parts?wait=20000")
    cell.take(8)
    cell.judge(8, Verdict.NG)

    answer = sent.result(PATIENCE_S)

    assert (answer.status, answer.body["trigger"], answer.body["verdict"]) == (200, 8, "NG")


def test_a_verdict_that_does_not_come_in_time_is_not_made_up(line: Callable[..., Line]) -> None:
    """Without a verdict in time the answer is 202: the part is on its way, and nothing says that it is good."""
    cell = line()
    sent = cell.send(path="/parts?wait=1")
    cell.take(9)

    answer = sent.result(PATIENCE_S)

    assert (answer.status, "verdict" in answer.body) == (202, False)


@pytest.mark.parametrize(
    ("kind", "body", "channel"),
    [
        ("image/png", b"\x89PNG", "image"),
        ("image/jpeg; charset=x", b"\xff\xd8", "image"),
        ("application/x-npy", b"\x93NUMPY", "signal"),
    ],
)
def test_the_content_type_says_what_it_is(kind: str, body: bytes, channel: str, line: Callable[..., Line]) -> None:
    """Pictures and .npy files are handed on as they came."""
    cell = line()
    sent = cell.send(body, kind)

    sample = cell.take(1)
    sent.result(PATIENCE_S)

    assert sample.channels[channel].data == body


def test_raw_floats_need_an_agreed_length(line: Callable[..., Line]) -> None:
    """An octet stream is little-endian floats, as many as agreed."""
    cell = line(length=2)
    sent = cell.send(np.array([1, 2], "<f4").tobytes(), "application/octet-stream")
    sample = cell.take(1)
    sent.result(PATIENCE_S)

    refused = cell.post(b"\x00" * 9, "application/octet-stream")

    assert sample.channels["signal"].data.tolist() == [1, 2]
    assert (refused.status, refused.body["hint"]) == (422, "9 bytes, 1 × 2 floats have 8")


@pytest.mark.parametrize(
    ("request_of", "status"),
    [
        ({"kind": "text/plain"}, 415),
        ({"path": "/part"}, 404),
        ({"body": b'{"noise": [1]}'}, 422),
        ({"body": b"{"}, 422),
        ({"body": b""}, 413),
        ({"body": b"x" * 20_000}, 413),
        ({"path": "/parts?wait=soon"}, 400),
        ({"path": "/parts?wait=9999999"}, 400),
        ({"Lineside_Part": "P" * 121}, 400),
        ({"Lineside_Number": "-1"}, 400),
    ],
)
def test_what_is_refused_is_no_part(request_of: dict[str, Any], status: int, line: Callable[..., Line]) -> None:
    """A request that cannot be a part is answered with the cure, and no trigger ever gets it."""
    cell = line(max_mb=0.01)

    answer = cell.post(**request_of)

    assert answer.status == status
    assert answer.body["hint"]
    assert not cell.source.waiting(0)


def test_who_waits_for_a_verdict_holds_no_part(line: Callable[..., Line]) -> None:
    """Once its trigger has it, a part is held by who judges it, and not for as long as its sender waits."""
    cell = line()
    sent = cell.send(path="/parts?wait=10000")
    eventually(lambda: cell.source.waiting(0))
    trigger = Trigger(1, 1, 0, 0)

    array = weakref.ref(cell.source.grab(trigger).channels["signal"].data)

    eventually(lambda: array() is None)
    cell.source.done(trigger, Verdict.OK)
    assert sent.result(PATIENCE_S).body["verdict"] == "OK"


def test_parts_that_wait_are_bounded_in_bytes(line: Callable[..., Line], monkeypatch: pytest.MonkeyPatch) -> None:
    """Few long parts are as full a queue as many short ones: the next one is told to come again."""
    monkeypatch.setattr("edge_agent.sources.push.MAX_BYTES", 3 * 8)
    cell = line(queue=100)

    first = cell.send()
    eventually(lambda: cell.source.waiting(0))
    second = cell.post()
    cell.source.grab(Trigger(1, 1, 0, 0))

    assert (first.result(PATIENCE_S).status, second.status) == (202, 429)


def test_a_full_queue_says_come_again(line: Callable[..., Line]) -> None:
    """What finds no room is answered with 429 at once, and what waits is not pushed out."""
    cell = line(queue=2)
    waiting = [cell.send(Lineside_Part=f"P{n}") for n in range(2)]
    eventually(lambda: len(cell.source._waiting) == 2)

    refused = cell.post()
    parts = {cell.take(n).part for n in range(2)}

    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    assert parts == {"P0", "P1"}
    assert [sent.result(PATIENCE_S).status for sent in waiting] == [202, 202]


def test_a_part_that_no_trigger_takes_is_given_back(line: Callable[..., Line]) -> None:
    """503 means that it is not here any more: sent again it is one part, not two."""
    cell = line(take_s=0.05)

    refused = cell.post()

    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert not cell.source.waiting(0)


def test_a_browsers_page_that_borrowed_our_address_sends_nothing(line: Callable[..., Line]) -> None:
    """Without a token a part comes from who asked for this very machine, not for a name that was made to mean it."""
    cell = line()

    stranger = cell.post(Host=f"evil.example:{cell.source.port}")
    known = cell.send(Host=f"localhost:{cell.source.port}")
    eventually(lambda: cell.source.waiting(0))
    cell.source.grab(Trigger(1, 1, 0, 0))

    assert (stranger.status, known.result(PATIENCE_S).status) == (403, 202)


def test_without_the_token_nothing_is_taken(tmp_path: Path, line: Callable[..., Line]) -> None:
    """Where a token is set, only who shows it may send."""
    token_file = tmp_path / "token"
    token_file.write_text("s3cret\n")
    cell = line(token_file=token_file)

    refused = [cell.post(Authorization=shown) for shown in ("", "Bearer s3cre", "Bearer é")]
    sent = cell.send(Authorization="Bearer s3cret")
    cell.take(1)

    assert [answer.status for answer in refused] == [401, 401, 401]
    assert sent.result(PATIENCE_S).status == 202


def test_a_connection_may_bring_many_parts(line: Callable[..., Line]) -> None:
    """One connection, part after part."""
    cell = line()
    connection = http.client.HTTPConnection("127.0.0.1", cell.source.port, timeout=PATIENCE_S)
    connection.connect()
    ours = connection.sock.getsockname()
    found = []
    for n in range(3):
        connection.request("POST", "/parts", WINDOW, {"Content-Type": "application/json"})
        cell.take(n)
        found.append((json.loads(connection.getresponse().read())["trigger"], connection.sock.getsockname() == ours))
    connection.close()

    assert found == [(0, True), (1, True), (2, True)]


def test_the_body_of_a_refused_request_is_no_request(line: Callable[..., Line]) -> None:
    """After a refusal the connection ends: what follows on it is the rest of what was refused."""
    cell = line()
    hidden = b"POST /parts HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 18\r\n\r\n" + WINDOW
    with socket.create_connection(("127.0.0.1", cell.source.port), timeout=PATIENCE_S) as one:
        one.sendall(b"POST /parts HTTP/1.1\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n" + hidden)
        answers = b"".join(iter(lambda: one.recv(4096), b""))

    assert answers.count(b"HTTP/1.1 ") == 1
    assert not cell.source.waiting(0)


def test_who_only_holds_connections_does_not_hold_the_line(line: Callable[..., Line]) -> None:
    """Beyond a number of connections each is turned away at once, and the others go on."""
    cell = line()
    held = [socket.create_connection(("127.0.0.1", cell.source.port)) for _ in range(MAX_CONNECTIONS)]
    with socket.create_connection(("127.0.0.1", cell.source.port), timeout=PATIENCE_S) as one_more:
        answer = one_more.recv(1000)
    for connection in held:
        connection.close()

    sent = cell.send()
    eventually(lambda: cell.source.waiting(0) or sent.done())

    assert answer.startswith(b"HTTP/1.1 503")


def test_a_few_large_parts_are_read_at_a_time(line: Callable[..., Line], monkeypatch: pytest.MonkeyPatch) -> None:
    """Many large parts sent slowly cannot fill the memory: beyond a few they must come again, unlike small ones."""
    monkeypatch.setattr("edge_agent.sources.reception._IDLE_S", 0.05)
    cell = line()
    head = b"POST /parts HTTP/1.1\r\nContent-Type: image/png\r\nContent-Length: 1000000\r\n\r\n"
    slow = [socket.create_connection(("127.0.0.1", cell.source.port)) for _ in range(MAX_LARGE)]
    for connection in slow:
        connection.sendall(head)
    reception = cell.source._reception
    assert reception is not None
    eventually(lambda: reception.large._value == 0)

    large = cell.post(bytes(1_000_000), "image/png")
    small = cell.send()
    cell.take(1)
    for connection in slow:
        connection.close()

    assert (large.status, large.headers["Retry-After"]) == (503, "1")
    assert small.result(PATIENCE_S).status == 202


def test_who_hangs_up_in_mid_body_has_sent_nothing(line: Callable[..., Line]) -> None:
    """Half a part is none."""
    cell = line()
    with socket.create_connection(("127.0.0.1", cell.source.port)) as half:
        half.sendall(b"POST /parts HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        half.shutdown(socket.SHUT_WR)
        answer = half.recv(1000)

    assert answer.startswith(b"HTTP/1.1 408")
    assert not cell.source.waiting(0)


def test_at_the_end_everybody_is_answered() -> None:
    """Closing tells who waits for a trigger that there is none, and who waits for a verdict that it is on its way."""
    cell = Line()
    judged = cell.send(path="/parts?wait=60000")
    cell.take(1)
    untaken = cell.send()
    eventually(lambda: cell.source.waiting(0))

    closing = threading.Thread(target=cell.close)
    closing.start()

    assert (judged.result(PATIENCE_S).status, untaken.result(PATIENCE_S).status) == (202, 503)
    closing.join(PATIENCE_S)


def test_what_cannot_be_used_is_refused_with_a_cure(tmp_path: Path, line: Callable[..., Line]) -> None:
    """A taken port, a missing or an empty token's file."""
    taken = line().source.port
    (tmp_path / "empty").touch()

    for keys in (
        {"port": taken},
        {"port": 0, "token_file": tmp_path / "none"},
        {"port": 0, "token_file": tmp_path / "empty"},
    ):
        with pytest.raises(SourceError) as caught:
            PushSource(settings.PushSource(name="cell", **keys)).open()
        assert caught.value.hint


def test_nobody_sent_anything_is_a_fault() -> None:
    """A timer that finds no part says so."""
    source = PushSource(settings.PushSource(name="cell", port=0))

    assert source.grab(Trigger(1, 1, 0, 0)).fault is Reason.SOURCE_FAULT
