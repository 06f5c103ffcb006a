import msgspec
import numpy as np
import pytest

from edge_agent.monitoring.findings import MAX_PANES, DriftWatch, judge
from edge_agent.monitoring.panes import PaneCounter
from edge_protocol.codes import FindingState
from edge_protocol.counters import Reference, make_signal
from edge_protocol.messages import Pane
from edge_protocol.statistics import compare

REFERENCE = Reference(
    (
        make_signal("luma", np.random.default_rng(0).normal(120, 10, 2000)),
        make_signal("score", np.random.default_rng(1).normal(1, 0.1, 2000)),
    )
)


def pane(seed: int, luma: float = 120.0, n: int = 250) -> Pane:
    """A pane of `n` samples at this light."""
    rng = np.random.default_rng(seed)
    counter = PaneCounter(REFERENCE, "surface", "ab" * 32, n_max=n + 1)
    for at in range(n):
        counter.add({"luma": rng.normal(luma, 10), "score": rng.normal(1, 0.1)}, seed * 10_000 + at)
    made = counter.cut()
    assert made is not None
    return made


def test_less_light_is_found_and_the_score_stays_quiet() -> None:
    """Two panes under a fifth less light are drift of the light and of nothing else."""
    watch = DriftWatch(REFERENCE)

    before = [watch.add(pane(seed)) for seed in range(4)]
    after = [watch.add(pane(seed, luma=96.0)) for seed in range(4, 6)]

    assert all(window.drifting == () for window in before)
    assert after[-1].drifting == ("luma",)
    assert after[-1].n == 500


def test_one_pane_is_not_enough() -> None:
    """Below 500 samples there is no finding, whatever the counts look like."""
    window = DriftWatch(REFERENCE).add(pane(0, luma=10.0))

    assert {found.state for found in window.findings.values()} == {FindingState.INSUFFICIENT}


def test_small_panes_of_a_slow_line_make_a_window_together() -> None:
    """A window reaches back over as many panes as it needs, and no further."""
    watch = DriftWatch(REFERENCE)

    sizes = [watch.add(pane(seed, n=100)).n for seed in range(8)]

    assert sizes == [100, 200, 300, 400, 500, 500, 500, 500]


def test_a_line_too_slow_for_a_finding_stays_insufficient() -> None:
    """Panes beyond the most a window may hold are forgotten: memory is bounded, and nothing is claimed."""
    watch = DriftWatch(REFERENCE)

    last = [watch.add(pane(seed, n=1)) for seed in range(MAX_PANES + 10)][-1]

    assert last.n == MAX_PANES
    assert {found.state for found in last.findings.values()} == {FindingState.INSUFFICIENT}


def test_the_gateway_finds_what_the_hub_finds() -> None:
    """The finding is that of the shared function on the merged counts, to the last bit."""
    panes = (pane(0, luma=112.0), pane(1, luma=112.0))
    merged = np.array(panes[0].counts["luma"]) + np.array(panes[1].counts["luma"])

    found = judge(REFERENCE, panes).findings["luma"]

    assert found == compare(np.array(REFERENCE.signals[0].counts, np.int64), merged)


@pytest.mark.parametrize(
    "changes",
    [
        {"reference": "00" * 32},
        {"n": 251},
        {"counts": {}},
        {"counts": {"luma": (250,), "score": (250,)}},
        {"counts": {signal.name: (-1, 251, *[0] * (len(signal.counts) - 2)) for signal in REFERENCE.signals}},
    ],
)
def test_counts_that_do_not_fit_are_an_integrity_fault(changes: dict[str, object]) -> None:
    """Counters of another reference, or damaged ones, are never called drift or ok."""
    broken = msgspec.structs.replace(pane(1), **changes)

    window = judge(REFERENCE, (pane(0), broken))

    assert {found.state for found in window.findings.values()} == {FindingState.INTEGRITY_FAULT}


def test_the_latest_window_is_kept_to_be_shown() -> None:
    """`edge-agent drift` sees what the last pane said, and nothing before the first."""
    watch = DriftWatch(REFERENCE)
    before = watch.latest

    found = [watch.add(pane(seed, n=5)) for seed in (0, 1)]

    assert before is None
    assert watch.latest == found[-1]


def test_no_panes_say_nothing() -> None:
    """An empty window is insufficient, not ok."""
    window = judge(REFERENCE, ())

    assert window.n == 0
    assert {found.state for found in window.findings.values()} == {FindingState.INSUFFICIENT}
