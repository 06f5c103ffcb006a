import math
from collections.abc import Iterable, Sequence

import numpy as np

from edge_agent.judgement import Judgement
from edge_agent.monitoring.watch import Watch
from edge_agent.sample import Trigger
from edge_protocol.batch import Context
from edge_protocol.codes import Reason, Verdict
from edge_protocol.counters import Reference, make_signal
from edge_protocol.messages import Pane

OLD, NEW = "ab" * 32, "cd" * 32
REFERENCE = Reference((make_signal("luma", np.random.default_rng(0).normal(120, 10, 2000)),))
OTHER = Reference((make_signal("luma", np.random.default_rng(0).normal(60, 10, 2000)),))


def judged(
    values: Iterable[float], bundle: str = OLD, verdict: Verdict = Verdict.OK, at_us: int = 1
) -> list[Judgement]:
    """Judgements with these values of the one signal."""
    context = Context("seal", "tiles", "1", bytes.fromhex(bundle))
    return [
        Judgement(Trigger(1, n, at_us + n, n), "seal", context, verdict, Reason.NONE, 0.5, 1000 * n, {"luma": value})
        for n, value in enumerate(values, 1)
    ]


def watching(pane_rows: int = 10) -> Watch:
    """A watch on the old bundle."""
    watch = Watch("seal", pane_rows=pane_rows, pane_s=60)
    watch.begin(OLD, REFERENCE)
    return watch


def samples(panes: Sequence[Pane | None]) -> int:
    """How many samples these panes have counted."""
    return sum(pane.n for pane in panes if pane is not None)


def test_each_judged_sample_is_counted_once() -> None:
    """However they come in groups, the panes together hold every judged sample once."""
    watch = watching()
    groups = np.split(np.random.default_rng(1).normal(120, 10, 37), [3, 4, 20])

    panes = [pane for group in groups for pane in watch.add(judged(group))]
    last = watch.cut()

    assert [pane.n for pane in panes] == [10, 10, 10]
    assert last is not None
    assert last.n == 7
    assert samples([*panes, last]) == 37


def test_what_was_not_inspected_is_no_sample() -> None:
    """A part that could not be judged says nothing about the light, but its time still counts."""
    watch = watching()

    watch.add(judged([1.0] * 5, verdict=Verdict.UNINSPECTED))

    assert watch.cut() is None
    assert watch.latency.p50_ms > 0


def test_a_pane_never_mixes_two_bundles() -> None:
    """Another bundle cuts the pane; what the old one judged and comes late is not counted as the new one's."""
    watch = watching()
    watch.add(judged([120.0] * 4))

    cut = watch.begin(NEW, OTHER)
    watch.add(judged([120.0] * 3, OLD))
    watch.add(judged([60.0] * 2, NEW))
    last = watch.cut()

    assert cut is not None
    assert last is not None
    assert (cut.n, cut.bundle, cut.reference) == (4, OLD, REFERENCE.digest)
    assert (last.n, last.bundle, last.reference) == (2, NEW, OTHER.digest)


def test_a_bundle_without_reference_is_not_watched() -> None:
    """Without edges there is nothing to count on, and nothing to find."""
    watch = Watch("seal", pane_rows=2, pane_s=60)
    watch.begin(OLD, None)

    panes = watch.add(judged([1.0] * 5))

    assert (panes, watch.cut(), watch.expire(10**12), watch.latest) == ([], None, None, None)


def test_a_pane_closes_with_age() -> None:
    """A slow line still says what it counted, a minute after the first sample."""
    watch = watching()
    watch.add(judged([120.0] * 3, at_us=0))

    early, late = watch.expire(59_000_000), watch.expire(61_000_000)

    assert early is None
    assert samples([late]) == 3


def test_what_was_counted_is_judged_here_too() -> None:
    """The gateway finds drift by itself: a fifth less light in two panes, and no drift before."""
    watch = watching(pane_rows=250)
    rng = np.random.default_rng(2)
    watch.add(judged(rng.normal(120, 10, 500)))
    before = watch.latest

    watch.add(judged(rng.normal(96, 10, 500)))

    after = watch.latest
    assert before is not None
    assert after is not None
    assert (before.drifting, after.drifting) == ((), ("luma",))


def test_a_signal_that_is_no_number_is_counted_as_such() -> None:
    """A value that is not finite has a bin of its own: it breaks no pane."""
    watch = watching()

    (pane,) = watch.add(judged([math.nan, math.inf, *[120.0] * 8]))

    assert (pane.n, pane.counts["luma"][-1]) == (10, 2)
