"""Times of candidates in turns come in, the plan for a model on this gateway goes out: variant, threads, arena. Pure.

Two plans are compared by the ratio of neighbouring blocks, so that a noisy neighbour disturbs both; the one that was
there first stays unless the other is faster beyond doubt. Never loads a model: who calls hands over how to run one.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TypeAlias

import msgspec
import numpy as np

from edge_agent.errors import InferenceError

GAIN = 0.98
"""A plan that takes more than this share of the other's time is not worth a change."""

BLOCK_S = 0.03
MOST_RUNS = 50
FEWEST_BLOCKS, MOST_BLOCKS = 9, 25
MOST_THREADS = 4
NO_TIME = "no time left"
_DRAWS = 400


class Plan(msgspec.Struct, frozen=True):
    """How a model runs on this gateway; `p50_ms` is what a run of its graph took."""

    variant: str
    threads: int = 1
    arena: bool = True
    p50_ms: float = msgspec.field(default=0.0)

    @property
    def choice(self) -> tuple[str, int, bool]:
        """The plan without what was measured."""
        return self.variant, self.threads, self.arena


Run: TypeAlias = Callable[[], object]
"""Runs a loaded model once."""

Load: TypeAlias = Callable[[Plan], Run]
"""Loads a model as a plan says, warm."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A candidate with its time as a share of that of the plan that stood when it was tried, with a 99 % interval."""

    plan: Plan
    share: float = 1.0
    low: float = 1.0
    high: float = 1.0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Tuning:
    """The plan to run by, and all that was tried."""

    plan: Plan
    tried: tuple[Tried, ...]


def fingerprint(arch: str, flags: frozenset[str], quota: float, runtime: str) -> str:
    """What a plan was measured on: on another processor, quota or runtime it says nothing."""
    text = "\n".join((arch, " ".join(sorted(flags)), f"{quota:g}", runtime))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def grid(variants: Sequence[str], quota: float) -> tuple[Plan, ...]:
    """Every plan for these variants: the one that needs no measuring in front, then by how much a choice may matter."""
    threads = range(1, min(max(int(quota), 1), MOST_THREADS) + 1)
    return tuple(Plan(name, count, arena) for arena in (True, False) for count in threads for name in variants)


def tune(plans: Sequence[Plan], load: Load, seconds: float, now: Callable[[], float] = perf_counter) -> Tuning:
    """Try `plans` one after the other against the best so far, for at most about `seconds`.

    Two models are in memory at a time. One that does not load, for want of memory or anything else, is no candidate.

    Raises:
        InferenceError: none of them can be loaded.
    """
    end_s = now() + seconds
    tried: list[Tried] = []
    standing: tuple[Plan, Run] | None = None
    own_ms, problem = 0.0, None
    for plan in plans:
        if standing is not None and now() >= end_s:
            tried.append(Tried(plan, note=NO_TIME))
            continue
        try:
            run = load(plan)
            pairs = list(_pairs(standing[1], run, end_s, now)) if standing is not None else []
        except (InferenceError, MemoryError) as error:
            problem = problem or error
            tried.append(Tried(plan, note=f"it does not run: {error}"[:200]))
            continue
        shares = [theirs / ours for ours, theirs in pairs]
        tried.append(Tried(plan, median(shares), *interval(shares)) if shares else Tried(plan))
        if standing is None:
            standing, own_ms = (plan, run), _block(run, _runs(run, now), now)
        elif is_faster(shares):
            standing, own_ms = (plan, run), median(theirs for _, theirs in pairs)
        else:
            own_ms = median(ours for ours, _ in pairs)
    if standing is None:
        raise problem or InferenceError("there is no plan to try")
    return Tuning(msgspec.structs.replace(standing[0], p50_ms=round(own_ms, 4)), tuple(tried))


def is_faster(shares: Sequence[float]) -> bool:
    """Whether a candidate with these shares of the other's time is faster, beyond doubt and enough to matter."""
    return len(shares) >= FEWEST_BLOCKS and median(shares) < GAIN and interval(shares)[1] < 1.0


def interval(values: Sequence[float], seed: int = 1) -> tuple[float, float]:
    """The bootstrap interval of the median: 99 %, for it is looked at again after each block."""
    drawn = np.random.default_rng(seed).choice(np.asarray(values), (_DRAWS, len(values)))
    low, high = np.quantile(np.median(drawn, axis=1), (0.005, 0.995))
    return float(low), float(high)


def _pairs(ours: Run, theirs: Run, end_s: float, now: Callable[[], float]) -> Iterator[tuple[float, float]]:
    """Milliseconds of a run in neighbouring blocks, until it is clear which is faster or the time is over."""
    runs = max(_runs(ours, now), _runs(theirs, now))
    shares: list[float] = []
    while len(shares) < MOST_BLOCKS:
        # Each is first in every second pair: what the one leaves in the caches does not always help the other.
        order = (ours, theirs) if len(shares) % 2 == 0 else (theirs, ours)
        spent = {each: _block(each, runs, now) for each in order}
        shares.append(spent[theirs] / spent[ours])
        yield spent[ours], spent[theirs]
        if len(shares) >= FEWEST_BLOCKS:
            low, high = interval(shares)
            if high < GAIN or low > GAIN or now() >= end_s:
                return


def _runs(run: Run, now: Callable[[], float]) -> int:
    """How many runs make a block."""
    start_s = now()
    run()
    return round(min(max(BLOCK_S / max(now() - start_s, 1e-6), 1), MOST_RUNS))


def _block(run: Run, runs: int, now: Callable[[], float]) -> float:
    """Milliseconds of a run: the median of a block, which a single interruption does not change."""
    times = []
    for _ in range(runs):
        start_s = now()
        run()
        times.append(now() - start_s)
    return max(median(times) * 1000, 1e-6)
