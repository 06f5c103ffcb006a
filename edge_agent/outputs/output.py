"""The seam to whoever is told the verdicts on the line. `tests/edge_agent/outputs` holds the contract."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

from edge_agent.judgement import Judgement
from edge_agent.outputs.telegram import telegram
from edge_protocol.messages import Outcome


@dataclass(frozen=True, slots=True)
class Letter:
    """A verdict that an output owes the line until it has an outcome: the body that it sends, always the same."""

    output: str
    epoch: int
    trigger: int
    pipeline: str
    body: bytes


class Output(Protocol):
    """Tells the line each verdict, once, and says how that went.

    - `send` never raises and never waits for the other side: an attempt that fails is an outcome that says why, and
      the next verdict is a new attempt.
    - An output that tries on its own time answers None, and gives the outcome by `settled` when it is known: each
      verdict has exactly one, and until then it was not told.
    - `ok` says that the transport took the verdict, not that anybody acted on it.
    - Any thread may call; one `send` at a time.
    """

    @property
    def name(self) -> str:
        """The name of its row in the configuration."""

    @property
    def after_commit(self) -> bool:
        """Whether it may be told only what is safe on disk."""

    def open(self) -> None:
        """Get ready.

        Raises:
            OutputError: it cannot be used as configured.
        """

    def send(self, judgement: Judgement) -> Outcome | None:
        """Tell the line one verdict; None while it is under way."""

    def settled(self) -> Sequence[Outcome]:
        """The outcomes that have become known since the last call, of what was under way."""

    def beat(self, mono_us: int, alive: Collection[str]) -> None:
        """Tell the line, as often as it wants to hear it, which pipelines are alive. Called a few times a second."""

    def close(self) -> None:
        """Stop telling; what was under way is settled then. May be called twice."""


def letter(name: str, judgement: Judgement) -> Letter:
    """What output `name` owes for a verdict."""
    return Letter(name, judgement.trigger.epoch, judgement.trigger.n, judgement.pipeline, telegram(judgement))


def outcome(name: str, judgement: Judgement, began_s: float, problem: str = "") -> Outcome:
    """The record of one attempt of output `name`, begun at `perf_counter()` = `began_s`; a problem makes it fail."""
    trigger = judgement.trigger
    return outcome_of(Letter(name, trigger.epoch, trigger.n, judgement.pipeline, b""), began_s, problem)


def outcome_of(letter: Letter, began_s: float, problem: str = "", remark: str = "") -> Outcome:
    """The record of how a letter ended. A `remark` says something of a success."""
    return Outcome(
        epoch=letter.epoch,
        trigger=letter.trigger,
        output=letter.output,
        ok=not problem,
        latency_us=round((perf_counter() - began_s) * 1e6),
        detail=problem or remark,
        pipeline=letter.pipeline,
    )
