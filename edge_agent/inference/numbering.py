"""A source's own numbers of parts come in, those that were left out go out, by the pipelines that should have had them.

A hole while the line runs is a fault of the source; before the first number after a kill or a power cut it is what the
stop has cost. A number that comes again or begins anew is no hole.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from edge_protocol.codes import Reason

MAX_HOLE = 1000
"""More parts than this at once have no triggers: the source counts something else, or ran for long without us."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A part that never came, and the pipelines that owe it a verdict."""

    number: int
    pipelines: tuple[str, ...]
    reason: Reason


class Numbering:
    """The numbers of one source. Belongs to one thread."""

    def __init__(self, recorded: Callable[[], Mapping[str, int]] = dict) -> None:
        """`recorded`: the last number on record by pipeline; nothing after a stop in order. Asked once."""
        self._recorded = recorded
        self._last: dict[str, int] | None = None
        self._running: set[str] = set()

    def next(self, number: int, pipelines: Iterable[str]) -> tuple[list[Lost], int]:
        """What lies between `number` and the one before it, the oldest first; and how many beyond `MAX_HOLE`."""
        if self._last is None:
            self._last = dict(self._recorded())
        lost: dict[tuple[int, Reason], list[str]] = {}
        beyond = 0
        for name in pipelines:
            reason = Reason.SOURCE_FAULT if name in self._running else Reason.INTERRUPTED
            first = self._last.get(name, number) + 1
            for each in range(first, min(number, first + MAX_HOLE)):
                lost.setdefault((each, reason), []).append(name)
            beyond = max(beyond, number - first - MAX_HOLE)
            self._last[name] = number
            self._running.add(name)
        return [Lost(each, tuple(names), reason) for (each, reason), names in sorted(lost.items())], beyond
