from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.clock import FixedClock
from edge_agent.judgement import Judgement
from edge_agent.sample import Trigger
from edge_agent.store import Store
from edge_agent.telemetry.outbox import Outbox
from edge_protocol.batch import Context
from edge_protocol.codes import Reason, Verdict

QUOTA_BYTES = 16 * 1024 * 1024

Judge = Callable[..., list[Judgement]]


@pytest.fixture
def clock() -> FixedClock:
    """A clock that moves when it is told to."""
    return FixedClock()


@pytest.fixture
def store(tmp_path: Path, clock: FixedClock) -> Iterator[Store]:
    """A new database."""
    store = Store.open(tmp_path / "lineside.db", quota_bytes=QUOTA_BYTES, clock=clock)
    yield store
    store.close()


@pytest.fixture
def outbox(store: Store) -> Outbox:
    """The outbox of `store`."""
    return Outbox(store, "press-1", b"c" * 32)


@pytest.fixture
def judge(clock: FixedClock) -> Judge:
    """A function that makes judgements, with triggers that go on counting."""
    context = Context("surface", "tiles", "1", b"d" * 32, "fp32", b"o" * 32)
    count = iter(range(1, 10**9))

    def make(n: int = 1, verdict: Verdict = Verdict.OK, part: str = "") -> list[Judgement]:
        triggers = [Trigger(7, next(count), clock.wall_us(), clock.mono_us(), part) for _ in range(n)]
        score = None if verdict is Verdict.UNINSPECTED else 0.25
        return [Judgement(t, "surface", context, verdict, Reason.NONE, score, 1200) for t in triggers]

    return make
