"""The account of a gateway, drawn up by a third party: what its own database says was made, what the hub says it has.

The gateway is asked first and the hub second; what arrived in between has higher numbers and is not looked at.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import msgspec

from edge_protocol import ranges
from edge_protocol.messages import StreamAccount
from edge_protocol.ranges import EMPTY, Ranges

Archived: TypeAlias = Mapping[tuple[int, str], Ranges]
"""What the hub has, by epoch and stream."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Records of all streams together. `lost` is what none of the three others accounts for."""

    produced: int = 0
    archived: int = 0
    buffered: int = 0
    declared: int = 0

    @property
    def lost(self) -> int:
        """What nobody can account for."""
        return self.produced - self.archived - self.buffered - self.declared

    def __add__(self, other: "Account") -> "Account":
        mine, its = msgspec.structs.asdict(self), msgspec.structs.asdict(other)
        return Account(**{name: mine[name] + its[name] for name in mine})


def draw_up(made: Iterable[StreamAccount], archived: Archived) -> Account:
    """The account of one gateway. Every record counts once: where the hub has it, archived, whatever else is said."""
    total = Account()
    for stream in made:
        every: Ranges = ((1, stream.produced),) if stream.produced else EMPTY
        here = ranges.intersect(archived.get((stream.epoch, stream.stream), EMPTY), every)
        given_up = ranges.subtract(ranges.intersect(stream.declared, every), here)
        waiting = ranges.subtract(ranges.subtract(ranges.intersect(stream.held, every), here), given_up)
        total += Account(
            produced=stream.produced,
            archived=ranges.count(here),
            buffered=ranges.count(waiting),
            declared=ranges.count(given_up),
        )
    return total


def archived_of(lines: Iterable[Mapping[str, Any]]) -> Archived:
    """What the hub has of one gateway, of the `streams` of its account in JSON."""
    return {
        (line["epoch"], line["stream"]): ranges.normal((first, last) for first, last in line["have"]) for line in lines
    }
