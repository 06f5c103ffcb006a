"""The laws of verdicts that leave by HTTP."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent import settings
from edge_agent.errors import ConfigError, OutputError
from edge_agent.judgement import Judgement
from edge_agent.outputs.http import UNKNOWN, HttpOutput
from edge_agent.outputs.kinds import make_output
from edge_agent.outputs.output import letter
from edge_agent.sample import Trigger
from edge_protocol.batch import Context
from edge_protocol.codes import Reason, Verdict
from edge_protocol.messages import Outcome
from tests.edge_agent.outputs.receiver import Receiver, eventually
from tests.edge_protocol.test_mqtt_tls import Authority


def judgement(n: int) -> Judgement:
    """The judgement of trigger `n`."""
    return Judgement(Trigger(5, n, 0, 0), "surface", Context("surface"), Verdict.OK, Reason.NONE, 0.5, 10)


class Cell:
    """An output and who is told."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.outputs: list[HttpOutput] = []

    def output(self, **keys: Any) -> HttpOutput:
        """An open output to the receiver."""
        given = {"url": f"http://127.0.0.1:{self.receiver.port}/verdicts?line=4", "backoff_s": 0.01, **keys}
        output = make_output(settings.HttpOutput(name="mes", **given), "press-1")
        assert isinstance(output, HttpOutput)
        self.outputs.append(output)
        output.open()
        return output


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cell]:
    """A receiver with outputs that are in a hurry at the end."""
    monkeypatch.setattr("edge_agent.outputs.http.CLOSE_S", 0.3)
    receiver = Receiver()
    cell = Cell(receiver)
    yield cell
    for output in cell.outputs:
        output.close()
    receiver.break_down()


def settle(output: HttpOutput, count: int) -> list[Outcome]:
    """So many outcomes, as they become known; nobody's heartbeat stops meanwhile."""
    known: list[Outcome] = []

    def are_known() -> bool:
        output.beat(0, [])
        known.extend(output.settled())
        return len(known) >= count

    eventually(are_known)
    return known


def test_a_verdict_is_posted_with_a_key_of_its_own(cell: Cell) -> None:
    """JSON to the URL as it is written, with a key by which a repeated verdict is known."""
    output = cell.output()
    output.send(judgement(7))

    settle(output, 1)

    path, headers, body = cell.receiver.requests[0]
    assert (path, body["trigger"]) == ("/verdicts?line=4", 7)
    assert (headers["Content-Type"], headers["Idempotency-Key"]) == ("application/json", "press-1-5-7-surface")
    assert "Authorization" not in headers


def test_what_is_under_way_is_not_yet_told(cell: Cell) -> None:
    """Nobody waits for the other side, and no outcome says ok before it has answered."""
    cell.receiver.answers = [(-1, {})]
    output = cell.output()

    outcome = output.send(judgement(1))
    eventually(lambda: len(cell.receiver.requests) == 1)

    assert outcome is None
    assert list(output.settled()) == []


@pytest.mark.parametrize("status", [0, 408, 429, 500, 503])
def test_what_may_pass_is_tried_again_in_order(status: int, cell: Cell) -> None:
    """One that is not taken is sent again, with the same key, before those that came after it."""
    cell.receiver.answers = [(status, {}), (status, {})]
    output = cell.output()
    for n in (1, 2):
        output.send(judgement(n))

    outcomes = settle(output, 2)

    told = [(headers["Idempotency-Key"], body["trigger"]) for _, headers, body in cell.receiver.requests]
    assert told == [("press-1-5-1-surface", 1)] * 3 + [("press-1-5-2-surface", 2)]
    assert [(each.trigger, each.ok) for each in outcomes] == [(1, True), (2, True)]
    assert outcomes[0].detail.startswith("taken at attempt 3; before: ")


@pytest.mark.parametrize("status", [301, 400, 401, 404, 422])
def test_what_is_refused_for_good_is_tried_once(status: int, cell: Cell) -> None:
    """A refusal is an outcome that says it, a redirect is not followed, and the next verdict is a new attempt."""
    cell.receiver.answers = [(status, {"Location": "http://127.0.0.1:9/"})]
    output = cell.output()
    for n in (1, 2):
        output.send(judgement(n))

    outcomes = settle(output, 2)

    assert [(each.ok, str(status) in each.detail) for each in outcomes] == [(False, True), (True, False)]
    assert len(cell.receiver.requests) == 2


def test_what_is_too_old_is_given_up(cell: Cell) -> None:
    """After `give_up_s` the outcome says how often it was tried and what was wrong."""
    cell.receiver.answers = [(503, {})] * 10_000
    output = cell.output(give_up_s=0.1)
    output.send(judgement(1))

    [outcome] = settle(output, 1)

    assert not outcome.ok
    assert outcome.detail.startswith("given up after ")
    assert "answered 503" in outcome.detail


def test_the_other_side_may_ask_for_a_pause(cell: Cell) -> None:
    """Retry-After is heeded: within it nothing is sent."""
    cell.receiver.answers = [(503, {"Retry-After": "3600"})]
    output = cell.output(give_up_s=0.3)
    output.send(judgement(1))

    [outcome] = settle(output, 1)

    assert (outcome.ok, len(cell.receiver.requests)) == (False, 1)


def test_a_full_queue_is_a_failure_at_once(cell: Cell) -> None:
    """The queue is bounded: what finds no room is told so, and what waits keeps its place."""
    cell.receiver.answers = [(-1, {})]
    output = cell.output(queue=2)

    outcomes = [output.send(judgement(n)) for n in range(4)]

    assert outcomes[:2] == [None, None]
    assert [outcome.ok for outcome in outcomes[2:] if outcome is not None] == [False, False]


@pytest.mark.parametrize("status", [-1, -2])
def test_an_answer_that_never_ends_is_ended(status: int, cell: Cell) -> None:
    """Silent or talking without end, an attempt lasts no longer than `timeout_s`; then the verdict is tried again."""
    cell.receiver.answers = [(status, {})]
    output = cell.output(timeout_s=0.1)
    output.send(judgement(1))

    [outcome] = settle(output, 1)

    assert (outcome.ok, outcome.detail) == (True, "taken at attempt 2; before: no answer in time")


def test_one_connection_carries_many_verdicts(cell: Cell) -> None:
    """A connection is kept, and one that was ended while it rested costs no verdict and no pause."""
    output = cell.output()
    for n in range(3):
        output.send(judgement(n))
    settle(output, 3)
    connections = len(cell.receiver.connections)
    cell.receiver.break_down()
    cell.receiver.mend()

    output.send(judgement(4))
    [outcome] = settle(output, 1)

    assert connections == 1
    assert (outcome.ok, outcome.detail) == (True, "")


def test_what_a_kill_interrupted_is_sent_again(cell: Cell) -> None:
    """With its own key and bytes, before anything new and whatever the queue holds, and its outcome says so."""
    killed, another = cell.output(), cell.output(queue=1)
    for n in (1, 2):
        killed.send(judgement(n))
    settle(killed, 2)

    another.resume([letter("mes", judgement(n)) for n in (1, 2)])
    another.send(judgement(3))
    outcomes = settle(another, 2)

    told = [(headers["Idempotency-Key"], body) for _, headers, body in cell.receiver.requests]
    assert told[2:4] == told[:2]
    assert [(each.trigger, each.ok, each.pipeline) for each in outcomes[:2]] == [
        (1, True, "surface"),
        (2, True, "surface"),
    ]
    assert {each.detail for each in outcomes[:2]} == {f"taken at attempt 1; before: {UNKNOWN}"}


def test_the_end_settles_everything(cell: Cell) -> None:
    """At the end what can be sent is sent; what was not taken has failed, each with its outcome."""
    output = cell.output()
    output.send(judgement(1))
    output.close()
    taken = list(output.settled())

    cell.receiver.answers = [(503, {})] * 10_000
    other = cell.output()
    for n in (2, 3):
        other.send(judgement(n))
    other.close()
    left = list(other.settled())

    assert [(each.trigger, each.ok) for each in taken] == [(1, True)]
    assert [(each.trigger, each.ok) for each in left] == [(2, False), (3, False)]
    assert other.send(judgement(4)).ok is False  # type: ignore[union-attr]


def test_a_token_is_shown_and_read_anew(tmp_path: Path, cell: Cell) -> None:
    """The token of the file goes with each verdict; after it was renewed the new one does."""
    token_file = tmp_path / "token"
    token_file.write_text("first\n")
    output = cell.output(token_file=token_file)
    output.send(judgement(1))
    settle(output, 1)
    token_file.write_text("second\n")
    output.send(judgement(2))
    settle(output, 1)

    assert [headers["Authorization"] for _, headers, _ in cell.receiver.requests] == ["Bearer first", "Bearer second"]


def test_a_token_that_cannot_be_read_is_refused_with_a_cure(tmp_path: Path, cell: Cell) -> None:
    """A missing or empty file is told when the output is opened."""
    (tmp_path / "empty").touch()
    for name in ("none", "empty"):
        with pytest.raises(OutputError, match="token") as caught:
            cell.output(token_file=tmp_path / name)
        assert caught.value.hint


@pytest.mark.parametrize("is_trusted", [True, False])
def test_only_a_trusted_server_is_told(is_trusted: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """Over TLS the certificate must come from the authority that was named, and be for that host."""
    factory = Authority(tmp_path / "factory")
    served = factory.issue("mes")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(served.certificate_file), str(served.key_file))
    receiver = Receiver(context)
    url = f"https://127.0.0.1:{receiver.port}/"
    ca_file = served.ca_file if is_trusted else None
    output = make_output(settings.HttpOutput(name="mes", url=url, ca_file=ca_file, give_up_s=0.1), "press-1")
    output.open()
    output.send(judgement(1))
    assert isinstance(output, HttpOutput)

    [outcome] = settle(output, 1)
    output.close()
    receiver.break_down()

    assert (outcome.ok, "certificate" in outcome.detail, len(receiver.requests)) == (
        is_trusted,
        not is_trusted,
        int(is_trusted),
    )


@pytest.mark.parametrize("keys", [{"url": "https://h/", "ca_file": Path("none.pem")}, {"url": "http://h:99999/"}])
def test_what_it_names_is_checked_before_anything_runs(keys: dict[str, Any]) -> None:
    """A wrong port or authority is a matter of configuration, named by its row."""
    with pytest.raises(ConfigError, match=r"\[\[outputs\]\] 'mes'") as caught:
        make_output(settings.HttpOutput(name="mes", **keys), "press-1")

    assert caught.value.hint
