"""What a neighbour's question costs here and with peers: the same ONNX file, session options and processors, in turns.

MLServer brings no ONNX runtime: the adapter that is timed in it is ours. Each peer is asked in the fastest way that its
HTTP side knows, MLServer in JSON as well; each is alone on the machine while it is asked.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge_agent.inference.model import Model
from edge_protocol.codes import Verdict
from scripts.benches import pairs
from scripts.benches.failure import BenchError
from scripts.benches.ground import supplies
from scripts.benches.ground.line import Line
from scripts.benches.ground.supplies import say
from scripts.benches.inference.peers import sides
from scripts.benches.inference.peers.sides import Question, Side, Subject

FIGURES = {
    "http_vs_mlserver_rps": "tensors in and out, 1 connection: our requests/s ÷ MLServer's, with our adapter (≥ 3)",
    "http_vs_mlserver_p99": "the same: our p99 ÷ its p99 (≤ 0.5)",
    "http_vs_mlserver_json_rps": "the same, asked by numbers in JSON, the only form of a tensor there (stated)",
    "http_vs_mlserver_json_p99": "the same: our p99 ÷ its p99 (stated)",
    "http_vs_litserve_rps": "the same: our requests/s ÷ LitServe's (≥ 3)",
    "http_vs_litserve_p99": "the same: our p99 ÷ its p99 (≤ 0.5)",
    "http_vs_mlserver_rps_4c": "the same with 4 connections (stated)",
    "http_vs_mlserver_p99_4c": "the same with 4 connections (stated)",
    "http_vs_litserve_rps_4c": "the same with 4 connections (stated)",
    "http_vs_litserve_p99_4c": "the same with 4 connections (stated)",
    "http_vs_mlserver_rps_small": "the same with a model that takes no time: what is timed is the endpoint (≥ 3)",
    "http_vs_mlserver_p99_small": "the same: our p99 ÷ its p99 (≤ 0.5)",
    "http_vs_litserve_rps_small": "the same: our requests/s ÷ LitServe's (≥ 3)",
    "http_vs_litserve_p99_small": "the same: our p99 ÷ its p99 (≤ 0.5)",
    "inproc_vs_mlserver_rps": "the whole line in its process from 1080p frames, parts/s ÷ MLServer's requests/s (≥ 5)",
    "inproc_vs_litserve_rps": "the same ÷ LitServe's requests/s (≥ 5)",
}

ROUNDS = 15
SLICE_S = 1.0
TRIAL_S = 2.0
CONNECTIONS = (1, 4)
TOLERANCE = 1e-3
OURS = "lineside"
JSON = "JSON"
LINE = "surface"
"""The pipeline of `Line`."""


@dataclass(slots=True)
class Seen:
    """What rounds gave: requests a second of each, all latencies of each."""

    rates: list[float] = field(default_factory=list)
    latencies_ms: list[list[float]] = field(default_factory=list)

    def add(self, latencies_ms: list[float]) -> None:
        """One more round."""
        self.rates.append(len(latencies_ms) / SLICE_S)
        self.latencies_ms.append(latencies_ms)

    def percentile_ms(self, share: float) -> float:
        """Of all rounds together."""
        return float(np.percentile(np.concatenate(self.latencies_ms), share))


def measure() -> dict[str, float]:
    """The figures of HTTP, in about six minutes.

    Raises:
        BenchError: a peer cannot be installed or does not answer as we do.
    """
    supplies.build_missing()
    with supplies.workplace() as folder:
        with _line(folder / "line") as line:
            subject = _subject(supplies.SURFACE, "score")
            large, parts = _side_by_side(folder / "large", subject, CONNECTIONS, line)
            with _asker(folder) as asker:
                _tell_share(asker, line, sides.binary(subject, LINE))
        small, _ = _side_by_side(folder / "small", _subject(supplies.ENGINE, "probabilities"), (1,), None)
    figures = _figures(large) | {f"{key}_small": value for key, value in _figures(small).items()}
    for peer in ("mlserver", "litserve"):
        inside = [a / b for a, b in zip(parts, large[peer, 1].rates, strict=True)]
        say(f"the line in its process against {peer}, 1 connection: {pairs.told(inside)}")
        figures[f"inproc_vs_{peer}_rps"] = pairs.median(inside)
    return {key: figures[key] for key in FIGURES}


def _side_by_side(
    folder: Path, subject: Subject, connections: Sequence[int], line: Line | None
) -> tuple[dict[tuple[str, int], Seen], list[float]]:
    """What each server gave, by name and connections, and the line's parts a second in the same rounds."""
    folder.mkdir()
    with ExitStack() as stack:
        asker = stack.enter_context(_asker(folder))
        servers = (
            sides.ours(folder / OURS, subject),
            sides.mlserver(folder / "mlserver", subject),
            sides.litserve(subject),
        )
        for side in servers:
            stack.callback(side.stop)
            side.start(folder)
        asked = {side.name: (side, _fastest(asker, side, subject)) for side in servers}
        asked |= {f"{side.name}_json": (side, each) for side in servers for each in side.questions if each.how == JSON}
        seen = {(name, n): Seen() for n in connections for name in asked}
        parts: list[float] = []
        for _ in range(ROUNDS):
            parts += [line.parts_per_s(SLICE_S)] if line is not None else []
            for n in connections:
                for name, (side, question) in asked.items():
                    seen[name, n].add(asker.ask(side, question, n, SLICE_S)[0])
    for (name, n), found in seen.items():
        how = f"{name}, {asked[name][1].how}, {n} connections"
        rate = statistics.median(found.rates)
        say(f"{how}: {rate:.0f} requests/s, p50 {found.percentile_ms(50):.2f} ms, p99 {found.percentile_ms(99):.2f} ms")
    if line is not None:
        _check_judged(line)
        say(f"the line in its process: {statistics.median(parts):.0f} parts/s")
    return seen, parts


def _tell_share(asker: "Asker", line: Line, question: Question) -> None:
    """What is left of the line while four neighbours ask its own gateway without a pause; the goal is: nearly all."""
    rounds = []
    for _ in range(ROUNDS):
        before = line.parts_per_s(SLICE_S)
        with asker.bother(line.port, question, CONNECTIONS[-1], 2 * SLICE_S):
            rounds.append(line.parts_per_s(SLICE_S) / before)
    say(f"the line keeps, while {CONNECTIONS[-1]} neighbours ask it without a pause: {pairs.told(rounds)}")


def _check_judged(line: Line) -> None:
    """A part that is refused costs nothing: then there is nothing to compare."""
    judged = sum(verdict is not Verdict.UNINSPECTED for verdict in line.frames.verdicts)
    if judged < 0.99 * len(line.frames.verdicts):
        message = f"the line judged {judged} of {len(line.frames.verdicts)} parts"
        raise BenchError(message, "see the reasons in its journal")


def _figures(seen: Mapping[tuple[str, int], Seen]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for (peer, n), theirs in seen.items():
        if peer == OURS:
            continue
        mine, end = seen[OURS, n], "" if n == 1 else f"_{n}c"
        rates = [a / b for a, b in zip(mine.rates, theirs.rates, strict=True)]
        tail = _tail(mine, theirs)
        told = f"requests/s ratio {pairs.told(rates)}, p99 ratio {tail:.3f} ({tail.low:.3f} to {tail.high:.3f})"
        say(f"against {peer}, {n} connections: {told}")
        figures |= {f"http_vs_{peer}_rps{end}": pairs.median(rates), f"http_vs_{peer}_p99{end}": tail}
    return figures


def _tail(mine: Seen, theirs: Seen, draws: int = 500) -> pairs.Estimate:
    """The ratio of both p99 with its 95 % bootstrap interval, for which whole rounds are drawn."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(draws):
        drawn = rng.integers(0, len(mine.latencies_ms), len(mine.latencies_ms))
        tails = [np.percentile(np.concatenate([each.latencies_ms[n] for n in drawn]), 99) for each in (mine, theirs)]
        found.append(tails[0] / tails[1])
    low, high = np.percentile(found, [2.5, 97.5])
    return pairs.Estimate(mine.percentile_ms(99) / theirs.percentile_ms(99), float(low), float(high))


def _fastest(asker: "Asker", side: Side, subject: Subject) -> Question:
    """The question that a server answers fastest, of those that it answers as we do."""
    rates: dict[float, Question] = {}
    problems = []
    for question in side.questions:
        latencies_ms, reply = asker.ask(side, question, 1, TRIAL_S)
        if reply.startswith(b"HTTP/1.1 200 ") and _is_right(question, reply, subject):
            rate = len(latencies_ms) / TRIAL_S
            rates[rate] = question
            say(f"{side.name} takes {question.how}: {rate:.0f} requests/s")
        else:
            problems.append(f"{question.how}: {reply.partition(bytes(2))[0][:200]!r}")
            say(f"{side.name} does not take {question.how}")
    if not rates:
        message = f"{side.name} answers wrongly: {'; '.join(problems)}"
        raise BenchError(message, f"{subject.output} ends with {subject.expected}")
    return rates[max(rates)]


def _is_right(question: Question, reply: bytes, subject: Subject) -> bool:
    return abs(question.answer(reply, subject.output) - subject.expected) <= TOLERANCE


class Asker:
    """The process that asks."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self._process = process
        self._folder = folder

    def ask(self, side: Side, question: Question, connections: int, seconds: float) -> tuple[list[float], bytes]:
        """Latencies in milliseconds and the last reply. Only this server runs meanwhile.

        Raises:
            BenchError: it gives no answer.
        """
        side.thaw()
        try:
            with self.bother(side.port, question, connections, seconds) as found:
                pass
        finally:
            side.freeze()
        return found["latencies_ms"], found["reply"].encode("latin-1")

    @contextmanager
    def bother(self, port: int, question: Question, connections: int, seconds: float) -> Iterator[dict[str, Any]]:
        """Ask while something else is done; what is yielded is filled at the end.

        Raises:
            BenchError: there was no answer.
        """
        file = self._folder / f"{port}-{question.how}.request"
        if not file.exists():
            file.write_bytes(question.request)
        told = {"port": port, "request": str(file), "connections": connections, "seconds": seconds}
        assert self._process.stdin is not None  # noqa: S101 (pipes were asked for)
        assert self._process.stdout is not None  # noqa: S101 (the same)
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        found: dict[str, Any] = {}
        yield found
        if not (line := self._process.stdout.readline()):
            message = f"who listens on {port} was asked and gave no answer"
            raise BenchError(message, "the lines above say why")
        found |= json.loads(line)


@contextmanager
def _asker(folder: Path) -> Iterator[Asker]:
    command = [sys.executable, str(Path(__file__).with_name("load.py"))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield Asker(process, folder)
        finally:
            process.terminate()


@contextmanager
def _line(folder: Path) -> Iterator[Line]:
    with tempfile.TemporaryDirectory(prefix="bench-") as drawn:
        pictures = list(supplies.frames(Path(drawn)))
    line = Line(folder, supplies.BUNDLES / supplies.SURFACE, pictures)
    try:
        line.parts_per_s(SLICE_S)
        yield line
    finally:
        line.close()


def _subject(name: str, output: str) -> Subject:
    """A shipped model as it runs here, and one tensor with what it must give."""
    folder = supplies.BUNDLES / name
    model = Model.load(folder)
    array = model.new_tensor()
    array[...] = np.random.default_rng(1).standard_normal(array.shape, np.float32)
    tensor, options = model.preprocessor.tensor_name, model.engine.options
    file = folder / model.manifest.variant(model.variant).file
    told = {"file": str(file), "threads": options.threads, "arena": options.arena, "shape": array.shape}
    say(f"{name} as {model.variant}, {options.threads} thread, {array.nbytes} bytes of tensor")
    expected = float(model.engine.run({tensor: array})[output].ravel()[-1])
    return Subject(name, tensor, array, output, expected, told)
