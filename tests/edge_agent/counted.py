"""What sources that count their parts share, with a ticker that always has a part."""

from edge_agent.sample import Trigger
from edge_agent.sources.triggers import Tick
from edge_protocol.codes import Verdict


class Counted:
    """A source but for `grab`: there is nothing to open or to put away, and a part is always waiting."""

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def waiting(self, _mono_us: int) -> bool:
        """There always is a part."""
        return True

    def poll(self, mono_us: int) -> Tick | None:
        """There always is a part."""
        return Tick(mono_us)

    def idle_s(self, _mono_us: int) -> float:
        """No pause."""
        return 0.0

    def done(self, trigger: Trigger, verdict: Verdict) -> None:
        """Nothing to put away."""
