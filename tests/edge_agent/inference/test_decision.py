import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.inference.decision import Decider, verdict
from edge_agent.judgement import Prediction, Region
from edge_protocol.bundle import OperatingPoint
from edge_protocol.codes import Reason, Verdict

OK, NG, REVIEW = Verdict.OK, Verdict.NG, Verdict.REVIEW
TENTHS = st.integers(0, 10).map(lambda tenth: tenth / 10)


def decided(point: OperatingPoint, *scores: float) -> list[Verdict]:
    """The verdicts of scores in turn."""
    decider = Decider(point)
    return [decider.decide(Prediction(score))[0] for score in scores]


def said_plainly(point: OperatingPoint, scores: list[float]) -> list[Verdict]:
    """The rules word by word, each verdict from the whole past."""
    verdicts: list[Verdict] = []
    reached: list[bool] = []
    for score in scores:
        after_ng = verdicts[-1:] == [NG]
        since_ok = verdicts[len(verdicts) - verdicts[::-1].index(OK) :] if OK in verdicts else verdicts
        reached.append(score >= point.reject or (after_ng and score >= point.reject - point.hysteresis))
        k, n = point.persistence
        lenient = score < point.accept - point.hysteresis if NG in since_ok else score < point.accept
        if reached[-1] and reached[-n:].count(True) >= k:
            verdicts.append(NG)
        else:
            verdicts.append(OK if lenient else REVIEW)
    return verdicts


@settings(deadline=None, max_examples=300)
@given(
    st.lists(TENTHS, max_size=30),
    st.tuples(TENTHS, TENTHS).map(sorted),
    st.integers(1, 4).flatmap(lambda k: st.tuples(st.just(k), st.integers(k, 6))),
    st.sampled_from([0.0, 0.125, 0.25, 0.5]),
)
def test_a_pipeline_decides_as_the_rules_say(
    scores: list[float], thresholds: list[float], persistence: tuple[int, int], hysteresis: float
) -> None:
    """For any scores, thresholds, k of n and hysteresis the verdicts are those of the rules read word by word."""
    point = OperatingPoint(accept=thresholds[0], reject=thresholds[1], persistence=persistence, hysteresis=hysteresis)

    assert decided(point, *scores) == said_plainly(point, scores)


@given(st.lists(TENTHS, max_size=20), st.tuples(TENTHS, TENTHS).map(sorted))
def test_without_persistence_and_hysteresis_each_part_stands_alone(scores: list[float], limits: list[float]) -> None:
    """One of one and no hysteresis: a Decider says what `verdict` says."""
    point = OperatingPoint(accept=limits[0], reject=limits[1])

    assert decided(point, *scores) == [verdict(Prediction(score), point)[0] for score in scores]


def test_a_single_bad_window_is_reviewed() -> None:
    """NG only when two of the latest three reach reject, and the present one is among them."""
    point = OperatingPoint(accept=0.4, reject=0.6, persistence=(2, 3))

    assert decided(point, 0.9, 0.1, 0.9, 0.1, 0.1, 0.9) == [REVIEW, OK, NG, OK, OK, REVIEW]


def test_what_was_ng_must_become_clearly_better() -> None:
    """After an NG a score just below a threshold is no better yet; after the next OK the thresholds are themselves."""
    point = OperatingPoint(accept=0.4, reject=0.6, hysteresis=0.1)

    assert decided(point, 0.55, 0.6, 0.55, 0.45, 0.35, 0.25, 0.35) == [REVIEW, NG, NG, REVIEW, REVIEW, OK, OK]


def test_what_is_no_longer_ng_must_reach_reject_again() -> None:
    """The hysteresis holds an NG, and brings none back from REVIEW."""
    point = OperatingPoint(accept=0.2, reject=0.6, hysteresis=0.25)

    assert decided(point, 0.6, 0.3, 0.5, 0.6) == [NG, REVIEW, REVIEW, NG]


def region(area: float) -> Region:
    """A region of this area."""
    return Region(np.zeros((1, 2), np.int32), area, 1.0)


@pytest.mark.parametrize(
    ("areas", "expected"),
    [
        ((2.0, 3.9), (OK, Reason.NONE)),
        ((2.0, 4.0), (NG, Reason.SCORE_REJECT)),
        ((), (NG, Reason.SCORE_REJECT)),
    ],
)
def test_what_is_too_small_does_not_count(areas: tuple[float, ...], expected: tuple[Verdict, Reason]) -> None:
    """A part whose every region is below min_area is OK whatever its score; what no region shows is not excused."""
    point = OperatingPoint(accept=0.4, reject=0.6, min_area=4.0)
    prediction = Prediction(0.9, regions=tuple(map(region, areas)))

    assert verdict(prediction, point) == expected
    assert Decider(point).decide(prediction) == expected
    assert prediction.score == 0.9
