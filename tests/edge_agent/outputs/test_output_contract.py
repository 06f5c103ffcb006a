"""What every output must do, checked on each kind."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge_agent import settings
from edge_agent.judgement import Judgement
from edge_agent.outputs.file import FileOutput
from edge_agent.outputs.kinds import KINDS, make_output
from edge_agent.outputs.mqtt import MqttOutput
from edge_agent.outputs.output import Output
from edge_agent.sample import Trigger
from edge_protocol.batch import Context
from edge_protocol.codes import Reason, Verdict
from edge_protocol.loopback import LoopbackBroker
from edge_protocol.messages import Outcome, decode_record, encode
from tests.edge_agent.outputs.receiver import Receiver, eventually


@dataclass
class Bench:
    """An output with a way to see what the line was told, to break it and to mend it."""

    output: Output
    told: Callable[[], list[dict[str, Any]]]
    break_it: Callable[[], object]
    mend_it: Callable[[], object]
    end: Callable[[], object] = lambda: None

    def tell(self, *judgements: Judgement) -> list[Outcome]:
        """Tell the line, and wait until it is known how each went."""
        known = [outcome for judgement in judgements if (outcome := self.output.send(judgement)) is not None]

        def are_known() -> bool:
            known.extend(self.output.settled())
            return len(known) == len(judgements)

        eventually(are_known)
        return known


def judgement(n: int, verdict: Verdict = Verdict.OK, **fields: Any) -> Judgement:
    """The judgement of trigger `n`."""
    context = Context("surface", "surface-anomaly", "1.2.3", b"d" * 32, "fp32")
    trigger = Trigger(epoch=5, n=n, at_us=1_700_000_000_000_000, mono_us=1, part=f"P{n}", lot="L1")
    shown: dict[str, Any] = {"reason": Reason.NONE, "score": 0.25, "latency_us": 12_345, **fields}
    return Judgement(trigger=trigger, pipeline="surface", context=context, verdict=verdict, **shown)


def file_bench(folder: Path) -> Bench:
    """A file, broken by making a folder stand in its place."""
    path = folder / "verdicts.jsonl"
    kept = folder / "kept.jsonl"

    def break_it() -> None:
        path.rename(kept)
        path.mkdir()

    def told() -> list[dict[str, Any]]:
        lines = [p.read_text() for p in (kept, path) if p.is_file()]
        return [json.loads(line) for line in "".join(lines).splitlines()]

    output = FileOutput(settings.FileOutput(name="told", path=path, after_commit=True))
    return Bench(output, told, break_it, path.rmdir)


def mqtt_bench(_folder: Path) -> Bench:
    """A link to a broker in memory, broken by cutting its network."""
    broker = LoopbackBroker()
    heard: list[dict[str, Any]] = []
    listener = broker.link("listener")
    listener.subscribe("line/surface/verdict")
    listener.start(lambda _topic, payload: heard.append(json.loads(payload)), lambda: None)
    table = settings.MqttOutput(name="told", broker="mqtt://127.0.0.1", after_commit=True)
    output = MqttOutput(table, broker.link("output"))
    return Bench(output, lambda: heard, lambda: broker.cut("output"), lambda: broker.restore("output"))


def http_bench(_folder: Path) -> Bench:
    """A URL, broken by ending its server."""
    receiver = Receiver()
    url = f"http://127.0.0.1:{receiver.port}/verdicts"
    table = settings.HttpOutput(name="told", url=url, give_up_s=0.2, backoff_s=0.01, after_commit=True)
    output = make_output(table, "press-1")
    return Bench(output, lambda: receiver.told, receiver.break_down, receiver.mend, receiver.break_down)


BENCHES = {"file": file_bench, "mqtt": mqtt_bench, "http": http_bench}


@pytest.fixture(params=list(BENCHES.values()), ids=list(BENCHES))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """An open output of each kind."""
    made: Bench = request.param(tmp_path)
    made.output.open()
    yield made
    made.output.close()
    made.end()


def test_every_kind_is_under_contract() -> None:
    """No kind of output is left out of these tests."""
    assert {table.__struct_config__.tag for table in KINDS} == set(BENCHES)


def test_each_verdict_is_told_once_and_in_order(bench: Bench) -> None:
    """What is sent is what the line hears: as often and in that order."""
    outcomes = bench.tell(*(judgement(n) for n in range(5)))

    assert [told["trigger"] for told in bench.told()] == list(range(5))
    assert all(outcome.ok for outcome in outcomes)


def test_the_line_is_told_what_was_judged(bench: Bench) -> None:
    """A telegram carries verdict, reason, part and who judged, in words that need no table."""
    bench.tell(judgement(7, Verdict.NG, reason=Reason.SCORE_REJECT))

    assert bench.told() == [
        {
            "verdict": "NG",
            "part": "P7",
            "pipeline": "surface",
            "epoch": 5,
            "trigger": 7,
            "at_us": 1_700_000_000_000_000,
            "reason": "SCORE_REJECT",
            "score": 0.25,
            "latency_ms": 12.345,
            "product": "",
            "lot": "L1",
            "bundle": "surface-anomaly",
            "version": "1.2.3",
        }
    ]


def test_what_was_not_inspected_never_looks_like_ok(bench: Bench) -> None:
    """An uninspected part is told as such, with its reason and no score."""
    bench.tell(judgement(1, Verdict.UNINSPECTED, reason=Reason.BLACK, score=None))

    told = bench.told()[0]

    assert (told["verdict"], told["reason"], told["score"]) == ("UNINSPECTED", "BLACK", None)


def test_each_attempt_leaves_its_record(bench: Bench) -> None:
    """An attempt is recorded with trigger, output and time taken, in a form the wire carries."""
    [outcome] = bench.tell(judgement(3))

    assert (outcome.epoch, outcome.trigger, outcome.output, outcome.detail) == (5, 3, "told", "")
    assert outcome.latency_us >= 0
    assert isinstance(decode_record(encode(outcome)), Outcome)


def test_a_failed_attempt_says_so_and_the_next_is_a_new_one(bench: Bench) -> None:
    """A broken output raises nothing: the outcome says what is wrong, and after the repair verdicts are told again."""
    bench.tell(judgement(1))
    bench.break_it()

    [failed] = bench.tell(judgement(2))
    bench.mend_it()
    [again] = bench.tell(judgement(3))

    assert (failed.ok, again.ok) == (False, True)
    assert failed.detail
    assert bench.told()[-1]["trigger"] == 3


def test_it_carries_its_name_and_its_promise(bench: Bench) -> None:
    """The agent learns from the output itself whether it may be told before the commit."""
    assert (bench.output.name, bench.output.after_commit) == ("told", True)


def test_closing_twice_is_closing(bench: Bench) -> None:
    """`close` may be called again, a beat is never an error, and nothing is left under way."""
    bench.output.beat(0, ["surface"])

    bench.output.close()
    bench.output.close()

    assert list(bench.output.settled()) == []
