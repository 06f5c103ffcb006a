import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.monitoring.panes import PaneCounter
from edge_protocol import counters
from edge_protocol.counters import Reference, make_signal
from edge_protocol.messages import Pane, decode_record, encode

S = 1_000_000
RNG = np.random.default_rng(0)
REFERENCE = Reference((make_signal("luma", RNG.normal(120, 10, 2000)), make_signal("score", RNG.exponential(1, 2000))))


def counter(n_max: int = 250, age_s: float = 300.0) -> PaneCounter:
    """A counter on the reference."""
    return PaneCounter(REFERENCE, "surface", "ab" * 32, n_max=n_max, age_s=age_s)


def test_a_pane_closes_when_it_is_full() -> None:
    """The last of `n_max` samples closes the pane, and the next opens another."""
    open_pane = counter(n_max=3)

    panes = [open_pane.add({"luma": 120.0, "score": 1.0}, n * S) for n in range(7)]

    closed = [(pane.n, pane.opened_us, pane.closed_us) for pane in panes if pane]
    assert closed == [(3, 0, 2 * S), (3, 3 * S, 5 * S)]


def test_an_old_pane_closes_before_the_next_sample() -> None:
    """A sample that comes after the pane's age belongs to a new one."""
    open_pane = counter(age_s=10)
    open_pane.add({"luma": 120.0}, 0)

    closed = open_pane.add({"luma": 120.0}, 10 * S)
    rest = open_pane.cut()

    assert closed is not None
    assert (closed.n, closed.closed_us) == (1, 0)
    assert rest is not None
    assert rest.opened_us == 10 * S


def test_a_pane_ages_without_samples() -> None:
    """A line that stands still has its pane closed all the same, once."""
    open_pane = counter(age_s=10)
    open_pane.add({"luma": 120.0}, 0)

    panes = [open_pane.expire(at * S) for at in (9, 10, 11)]

    assert [pane.n if pane else None for pane in panes] == [None, 1, None]


def test_a_clock_that_went_back_closes_the_pane() -> None:
    """No pane spans two runs of the clock."""
    open_pane = counter()
    open_pane.add({"luma": 120.0}, 100 * S)

    closed = open_pane.add({"luma": 120.0}, 50 * S)

    assert closed is not None
    assert closed.opened_us == closed.closed_us == 100 * S


def test_uninspected_samples_are_not_counted() -> None:
    """What was not judged has no signals and leaves no trace in the counters."""
    open_pane = counter()

    open_pane.add({}, 0)

    assert open_pane.cut() is None


def test_cutting_twice_gives_one_pane() -> None:
    """A cut takes everything with it."""
    open_pane = counter()
    open_pane.add({"luma": 120.0}, 0)

    panes = [open_pane.cut(), open_pane.cut()]

    assert panes[0] is not None
    assert panes[1] is None


def test_a_missing_or_broken_value_is_counted_as_such() -> None:
    """Every signal has as many counts as there were samples: what is not a number falls in the last bin."""
    open_pane = counter()
    open_pane.add({"luma": math.nan}, 0)
    open_pane.add({"luma": math.inf, "score": 1.0, "unknown": 3.0}, 1)

    pane = open_pane.cut()

    assert pane is not None
    assert set(pane.counts) == {"luma", "score"}
    assert all(sum(counts) == 2 for counts in pane.counts.values())
    assert (pane.counts["luma"][-1], pane.counts["score"][-1]) == (2, 1)


@given(st.lists(st.tuples(st.floats(), st.floats(-5, 5)), max_size=60), st.integers(1, 20))
def test_panes_add_up_to_all_samples(samples: list[tuple[float, float]], n_max: int) -> None:
    """However samples are cut into panes, the panes together are the counts of all samples at once."""
    open_pane = counter(n_max=n_max)
    closed = [open_pane.add({"luma": luma, "score": score}, n) for n, (luma, score) in enumerate(samples)]
    panes = [pane for pane in [*closed, open_pane.cut()] if pane]

    for index, signal in enumerate(REFERENCE.signals):
        whole = counters.count(signal.edges, [sample[index] for sample in samples])
        parts = sum((np.array(pane.counts[signal.name]) for pane in panes), np.zeros_like(whole))
        assert (whole == parts).all()


def test_a_pane_travels() -> None:
    """A pane is a record the wire carries as it is."""
    open_pane = counter()
    open_pane.add({"luma": 120.0, "score": 1.0}, 0)
    pane = open_pane.cut()

    assert isinstance(pane, Pane)
    assert decode_record(encode(pane)) == pane
    assert (pane.bundle, pane.reference) == ("ab" * 32, REFERENCE.digest)
