"""The seam to whoever is told the verdicts on the line. `tests/edge_agent/outputs` holds the contract."""

from collections.abc import Collection
from time import perf_counter
from typing import Protocol

from edge_agent.judgement import Judgement
from edge_protocol.messages import Outcome


class Output(Protocol):
    """Tells the line each verdict, once, and says how that went.

    - `send` never raises and never waits for the other side: an attempt that fails is an outcome that says why, and
      the next verdict is a new attempt.
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

    def send(self, judgement: Judgement) -> Outcome:
        """Tell the line one verdict."""

    def beat(self, mono_us: int, alive: Collection[str]) -> None:
        """Tell the line, as often as it wants to hear it, which pipelines are alive. Called a few times a second."""

    def close(self) -> None:
        """Stop telling. May be called twice."""


def outcome(name: str, judgement: Judgement, began_s: float, problem: str = "") -> Outcome:
    """The record of one attempt of output `name`, begun at `perf_counter()` = `began_s`; a problem makes it fail."""
    return Outcome(
        epoch=judgement.trigger.epoch,
        trigger=judgement.trigger.n,
        output=name,
        ok=not problem,
        latency_us=round((perf_counter() - began_s) * 1e6),
        detail=problem,
    )
