"""A slot proves itself in a child process: its goldens, its memory and its time, beside the line that runs.

The child is the last in every queue for the processor, cannot take more memory than the bundle's budget, and ends with
its parent. What it leaves is the optimised model in the cache, so that the activation loads quickly, and its digest in
the report, for its parent's database. When all is well it says so, and then looks for the plan that runs best here.
"""

import ctypes
import os
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import msgspec

from edge_agent.inference.tuning import Plan
from edge_agent.updates.ledger import Problem
from edge_protocol.bundle import Manifest
from edge_protocol.updates import Refusal

NICE = 19
SLACK = 1.25
"""The kernel stops the child above its budget times this; what it took up to there is judged by its own number."""

TUNE_S = 5.0
"""How long is looked for a plan, at most; a release that was proved does not wait longer to be loaded."""

_TIMED_RUNS = 5
_OF_MEMORY = ("alloc", "memory", "arena")
"""How ONNX Runtime says that it got no memory."""

_PR_SET_PDEATHSIG = 1
_MOST_TEXT = 400


class Report(msgspec.Struct, frozen=True):
    """What the child found: the first stage that differs for each golden that does, and what it took.

    `ranks` says how the variant sorts the goldens otherwise than the floats, `audit` what of it is not in integers;
    `optimised` are the digests of what lies in the cache now, `plan` is how it runs best.
    """

    variant: str = ""
    differences: tuple[str, ...] = ()
    ranks: str = ""
    audit: str = ""
    optimised: dict[str, str] = {}
    plan: Plan | None = None
    error: str = ""
    rss_mb: float = 0.0
    latency_ms: float = 0.0
    seconds: float = 0.0

    @property
    def is_of_variant(self) -> bool:
        """Whether what is wrong is wrong with this arithmetic: another variant of the model may do."""
        return bool(self.differences or self.ranks)


class Proof:
    """A child at work. Made by starting it; `poll` it, or `kill` it."""

    report = Report()

    def __init__(
        self,
        slot: Path,
        manifest: Manifest,
        *,
        variant: str,
        cache: Path,
        deadline_s: float,
        tune_s: float = TUNE_S,
    ) -> None:
        """`tune_s` is what may be spent on a plan.

        Raises:
            OSError: no process could be started.
        """
        self._manifest = manifest
        self._deadline_s = deadline_s
        self._ends_s = monotonic() + deadline_s
        self._scratch = cache.parent / "proof"
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(parents=True)
        self._output = (self._scratch / "report.json").open("w+b")
        self._errors = (self._scratch / "errors.txt").open("w+b")
        arguments = (str(slot), str(cache), variant, str(manifest.budget.rss_mb), str(deadline_s), str(tune_s))
        self._child = subprocess.Popen(  # noqa: S603 (our own program)
            [sys.executable, "-m", "edge_agent.updates.proof", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._errors,
            # Drafts of the optimised model belong on the data's disk: /tmp may be memory.
            env=os.environ | {"TMPDIR": str(self._scratch)},
        )

    def poll(self) -> bool:
        """Whether it has ended; then `problem` tells how. One that is late is ended."""
        if self._child.poll() is None and monotonic() < self._ends_s:
            return False
        self.problem = self._judge()
        self.kill()
        return True

    def kill(self) -> None:
        """End the child, and delete what it left but for the cache."""
        with suppress(ProcessLookupError):
            self._child.kill()
        self._child.wait()
        self._output.close()
        self._errors.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _judge(self) -> Problem | None:
        # What was said before the end counts, whatever the end was: looking for a plan is no part of the proof.
        self._output.seek(0)
        for line in self._output.read().splitlines():
            with suppress(msgspec.MsgspecError):
                self.report = msgspec.json.decode(line, type=Report)
        if self.report.seconds:
            return judge(self.report, self._manifest)
        late = f"no result within {self._deadline_s:.0f} s"
        if self._child.returncode is None or self._child.returncode == -signal.SIGALRM:
            return _failed(late)
        if self._child.returncode:
            self._errors.seek(0)
            last = self._errors.read().decode(errors="replace").strip().rpartition("\n")[2]
            how = f"signal {-self._child.returncode}" if self._child.returncode < 0 else last
            return _failed(f"the self-test ended by {how}"[:_MOST_TEXT])
        return _failed("the self-test said nothing")


def judge(report: Report, manifest: Manifest) -> Problem | None:
    """What a report means for the release."""
    budget, differences = manifest.budget, report.differences
    more = f"; {len(differences)} of {len(manifest.goldens)} goldens differ" if differences[1:] else ""
    rules = (
        (report.error, report.error),
        (not manifest.goldens, "the bundle has no goldens: nothing shows that it judges here as it was taught"),
        (differences, "".join(differences[:1]) + more),
        (report.ranks, f"{report.variant}: {report.ranks}"),
        (report.rss_mb > budget.rss_mb, f"memory: {report.rss_mb:.0f} MB, its budget is {budget.rss_mb} MB"),
        (
            report.latency_ms > budget.latency_ms,
            f"time: {report.latency_ms:.0f} ms a part, its budget is {budget.latency_ms:.0f} ms",
        ),
    )
    return next((_failed(detail) for is_wrong, detail in rules if is_wrong), None)


def _failed(detail: str) -> Problem:
    return Problem(Refusal.SELF_TEST_FAILED, detail)


def main(arguments: list[str]) -> None:
    """The child: print the report of a slot as JSON."""
    slot, cache, variant, budget_mb, deadline_s, tune_s = arguments
    os.nice(NICE)
    # Should the agent be killed, or hang: this process does not outlive it by much.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(round(float(deadline_s)) + 1)
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    started_s = perf_counter()
    report = _prove(Path(slot), Path(cache), variant, int(budget_mb))
    done = msgspec.structs.replace(report, rss_mb=_status_mb("VmHWM"), seconds=perf_counter() - started_s)
    _say(done)
    if not done.error and not done.is_of_variant and float(tune_s):
        left_s = float(deadline_s) - done.seconds
        _say(_tune(done, Path(slot), Path(cache), min(float(tune_s), left_s / 4)))
    # Without the libraries' own endings: they take as long as the test and prove nothing.
    os._exit(0)


def _say(report: Report) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.flush()


def _prove(slot: Path, cache: Path, variant: str, budget_mb: int) -> Report:
    from edge_agent.errors import InferenceError
    from edge_agent.inference import selftest, trial
    from edge_agent.inference.cache import Cache
    from edge_agent.inference.model import Model

    made: dict[str, str] = {}
    _limit_memory(budget_mb)
    try:
        model = Model.load(slot, variant=variant or None, cache=Cache(cache, made))
        differences = selftest.check(model, slot)
        latency_ms = _time(model, slot)
        ranks = "" if differences else trial.ranks_of_goldens(model, slot)
    except InferenceError as error:
        over = any(word in str(error).lower() for word in _OF_MEMORY)
        return Report(error=f"memory: above its budget of {budget_mb} MB" if over else f"load: {error}"[:_MOST_TEXT])
    except MemoryError:
        return Report(error=f"memory: above its budget of {budget_mb} MB")
    found = tuple(f"{each.stage} of {each.golden}: {each.detail}"[:_MOST_TEXT] for each in differences)
    return Report(
        variant=model.variant, differences=found, ranks=ranks[:_MOST_TEXT], optimised=made, latency_ms=latency_ms
    )


def _tune(report: Report, slot: Path, cache: Path, seconds: float) -> Report:
    """The report with a plan, where one is found; what it finds wrong was not asked."""
    from edge_agent.errors import InferenceError
    from edge_agent.inference.cache import Cache
    from edge_agent.inference.trial import try_bundle

    made = dict(report.optimised)
    try:
        found = try_bundle(slot, variant=report.variant, cache=Cache(cache, made), seconds=seconds)
    except (InferenceError, MemoryError):
        return report
    warnings = "; ".join(filter(None, (each.warning for each in found.audits.values())))
    return msgspec.structs.replace(report, optimised=made, plan=found.plan, audit=warnings[:_MOST_TEXT])


def _limit_memory(budget_mb: int) -> None:
    """A limit on what this process may add to what it has now.

    Counted are private writable pages (RLIMIT_DATA), of which the libraries hold three times their resident ones as
    stacks and arenas nobody has touched: an absolute limit would say more of them than of the model.
    """
    if "VmData" not in _status():
        return
    added_mb = max(0.0, budget_mb - _status_mb("VmRSS"))
    limit = round((_status_mb("VmData") + added_mb * SLACK) * 2**20)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _time(model: Any, slot: Path) -> float:
    """Milliseconds of a part at best: this process waits for all others, its worst says nothing."""
    from edge_agent.sample import Channel, Sample

    if not model.manifest.goldens:
        return 0.0
    sample = Sample({model.preprocessor.channel: Channel((slot / model.manifest.goldens[0].file).read_bytes(), 0)})
    times = []
    for _ in range(_TIMED_RUNS):
        started_s = perf_counter()
        model.judge(sample)
        times.append(perf_counter() - started_s)
    return min(times) * 1000


def _status() -> dict[str, str]:
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)
    return {}


def _status_mb(name: str) -> float:
    return int(_status().get(name, "0 kB").split()[0]) / 1024


if __name__ == "__main__":
    main(sys.argv[1:])
