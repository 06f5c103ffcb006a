"""Which gateway is in which wave. Pure.

A wave is a number of gateways (`3`), a share of all that is through when it ends (`50%`), or whoever is left (`rest`).
Gateways that stand in for each other are never in one wave: while one proves a release, the other runs what is proved.
"""

import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

REST = "rest"
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)%")


class Place(NamedTuple):
    """A gateway, and the name of those that stand in for it; empty where none do."""

    gateway: str
    group: str = ""


def problems(waves: Sequence[str], gateways: int) -> Iterator[str]:
    """Why these waves do not add up, for so many gateways."""
    if not waves:
        yield "waves: there is none; say for example 1,50%,100%"
        return
    for wave in waves[:-1]:
        if wave == REST:
            yield "waves: `rest` stands at the end only"
    odd = [wave for wave in waves if wave != REST and not _is_count(wave) and _percent(wave) is None]
    for wave in odd:
        yield f"waves: {wave!r} is neither a number of gateways, nor a share like 50%, nor `rest`"
    shares = [share for wave in waves if (share := _percent(wave)) is not None]
    if any(not 0 < share <= 100 for share in shares) or any(b <= a for a, b in pairwise(shares)):
        yield "waves: shares must ascend, above 0% and up to 100%"
    if not odd and _percent(waves[-1]) is not None and shares[-1] != 100:
        yield f"waves: the last share must be 100%, not {waves[-1]}"
    elif not odd and (covered := _ends(waves, gateways)[-1]) < gateways:
        yield f"waves: they cover {covered} of {gateways} gateways; end with `rest` or 100%"


def split(waves: Sequence[str], gateways: Sequence[Place]) -> dict[str, int]:
    """The wave of each gateway, from 0, in the order they are given; a wave without a gateway is left out.

    Whoever would meet its stand-in waits for a later wave; where there is none, further ones of the last one's size
    are added.
    """
    sizes = [size for size in _sizes(waves, len(gateways)) if size]
    waiting, wave = list(gateways), 0
    result: dict[str, int] = {}
    while waiting:
        size = sizes[min(wave, len(sizes) - 1)]
        taken = _take(waiting, size)
        result |= {place.gateway: wave for place in taken}
        waiting = [place for place in waiting if place.gateway not in result]
        wave += 1
    return result


def late(waves: Sequence[str], members: Sequence[tuple[Place, int]], newcomer: Place) -> int:
    """The wave of a gateway that joins later: the last one, or one after it where that is full or has its stand-in."""
    wave = max(number for _, number in members)
    size = int(waves[-1]) if _is_count(waves[-1]) else math.inf
    while True:
        there = [place for place, number in members if number == wave]
        if len({place.gateway for place in there}) < size and not _meets(newcomer, there):
            return wave
        wave += 1


def _take(waiting: Sequence[Place], size: int) -> list[Place]:
    taken: list[Place] = []
    for place in waiting:
        if len(taken) < size and not _meets(place, taken):
            taken.append(place)
    return taken


def _meets(place: Place, others: Sequence[Place]) -> bool:
    return bool(place.group) and any(other.group == place.group for other in others if other.gateway != place.gateway)


def _sizes(waves: Sequence[str], gateways: int) -> list[int]:
    ends = [0, *_ends(waves, gateways)]
    return [end - begin for begin, end in pairwise(ends)]


def _ends(waves: Sequence[str], gateways: int) -> list[int]:
    """How many gateways are through when each wave ends."""
    end, ends = 0, []
    for wave in waves:
        share = _percent(wave)
        if share is not None:
            end = max(end, math.ceil(gateways * share / 100))
        else:
            end = gateways if wave == REST else end + (int(wave) if _is_count(wave) else 0)
        ends.append(min(end, gateways))
    return ends


def _is_count(wave: str) -> bool:
    return wave.isascii() and wave.isdecimal() and 0 < int(wave) < 10**9


def _percent(wave: str) -> float | None:
    match = _PERCENT.fullmatch(wave)
    return float(match[1]) if match else None
