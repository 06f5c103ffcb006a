"""The seam to what delivers samples. `tests/edge_agent/sources` holds the contract."""

from typing import Protocol

from edge_agent.sample import Sample, Trigger
from edge_protocol.codes import Verdict


class Source(Protocol):
    """Delivers one sample for each trigger.

    - `grab` never raises for a bad sample and never blocks for long: what is missing or damaged is a sample with a
      `fault`, so that its trigger still gets a verdict.
    - `done` is called once for each grabbed trigger, after its verdict; what was not done when the agent was killed
      is delivered again under a new trigger.
    - One thread opens, asks, grabs and closes; `done` may come from another.
    """

    def open(self) -> None:
        """Get ready. May be called again after an error.

        Raises:
            SourceError: the source is not there or cannot be used.
        """

    def waiting(self, mono_us: int) -> bool:
        """Whether a part is there that no trigger has taken.

        Raises:
            SourceError: the source has gone away.
        """

    def grab(self, trigger: Trigger) -> Sample:
        """The sample of this trigger."""

    def done(self, trigger: Trigger, verdict: Verdict) -> None:
        """The trigger has its verdict: the worst one, where several pipelines judged it.

        Raises:
            SourceError: the sample could not be put where judged ones belong.
        """

    def close(self) -> None:
        """Let go of everything. May be called twice."""
