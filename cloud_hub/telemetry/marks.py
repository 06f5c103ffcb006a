"""What a gateway once said it had made, kept through states that no longer speak of it: a lost disk loses no numbers.

A gateway's new state and its last one come in, the state to keep goes out. Pure; never decides whether it is true.
"""

from collections.abc import Mapping

import msgspec

from edge_protocol import ranges
from edge_protocol.messages import GatewayState, StreamAccount
from edge_protocol.ranges import EMPTY, Ranges

MAX_FORGOTTEN = 200
"""Streams of lost disks that are remembered with something missing: one is enough to unbalance the account."""

Key = tuple[int, str]


def remember(state: GatewayState, before: GatewayState | None, committed: Mapping[Key, Ranges]) -> GatewayState:
    """`state` with the high-water marks of `before`, as far as the hub has not everything up to them.

    What only `before` held is held by nobody now: it counts as lost until it arrives or a gap declares it.
    """
    told = {(line.epoch, line.stream): line for line in state.streams}
    marks = {(line.epoch, line.stream): line for line in before.streams} if before is not None else {}
    open_marks = {key: line for key, line in marks.items() if _is_open(line, committed.get(key, EMPTY))}
    raised = tuple(_raise(line, open_marks.get(key)) for key, line in told.items())
    forgotten = [msgspec.structs.replace(line, held=EMPTY) for key, line in open_marks.items() if key not in told]
    if raised == state.streams and not forgotten:
        return state
    return msgspec.structs.replace(state, streams=(*raised, *forgotten[:MAX_FORGOTTEN]))


def _is_open(line: StreamAccount, committed: Ranges) -> bool:
    return ranges.prefix(ranges.union(committed, line.declared), 1) < line.produced


def _raise(line: StreamAccount, mark: StreamAccount | None) -> StreamAccount:
    """A disk restored from an older image knows less of its own epoch than it once did."""
    if mark is None or mark.produced <= line.produced:
        return line
    return msgspec.structs.replace(line, produced=mark.produced)
