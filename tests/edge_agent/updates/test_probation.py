import pytest

from edge_agent.judgement import Judgement
from edge_agent.sample import Trigger
from edge_agent.updates.ledger import Problem
from edge_agent.updates.probation import FAULTS, LEAST_FOR_LATENCY, SILENCE_US, Probation, Terms
from edge_protocol.batch import Context
from edge_protocol.codes import Reason, Verdict

NEW, OLD = "ab" * 32, "cd" * 32
TERMS = Terms(verdicts=200, time_us=10_000_000, latency_ms=50.0)


def judged(reason: Reason = Reason.NONE, latency_ms: float = 5.0, digest: str = NEW) -> Judgement:
    """One answer to one part."""
    verdict = Verdict.OK if reason is Reason.NONE else Verdict.UNINSPECTED
    context = Context("seal", "surface", "1.1.0", bytes.fromhex(digest), "fp32")
    return Judgement(Trigger(1, 1, 0, 0), "seal", context, verdict, reason, 0.1, round(latency_ms * 1000))


def after(parts: list[Judgement], now_us: int = 20_000_000, *, is_silent: bool = False) -> Problem | bool:
    """The ruling after these parts."""
    probation = Probation(NEW, TERMS, 0)
    for part in parts:
        probation.add(part)
    return probation.rule(now_us, is_silent=is_silent)


def test_enough_verdicts_and_enough_time_are_both_needed() -> None:
    """Time alone proves nothing, a fast belt alone neither."""
    good = [judged()]

    assert after(good * 199) is False
    assert after(good * 200, now_us=9_999_999) is False
    assert after(good * 200) is True
    assert after(good * 199 + [judged(digest=OLD)] * 50) is False


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([judged(Reason.ENGINE_FAULT)] * FAULTS, "the model failed 3 times in 3 parts"),
        ([judged(Reason.NO_MODEL)] * FAULTS, "the model failed"),
        ([judged()] * 60 + [judged(Reason.NOT_FINITE)] * 10, "10 of 70 parts could not be inspected"),
        ([judged(latency_ms=51)] * LEAST_FOR_LATENCY, "p99 51 ms, its budget is 50 ms"),
    ],
)
def test_a_model_that_fails_goes(parts: list[Judgement], words: str) -> None:
    """Failures of the engine, parts it could not take, and slowness each have their words, under Unstable."""
    problem = after(parts, 0)

    assert isinstance(problem, Problem)
    assert problem.refusal == "Unstable"
    assert words in problem.detail


@pytest.mark.parametrize(
    "parts",
    [
        [judged(Reason.ENGINE_FAULT)] * (FAULTS - 1),
        [judged(Reason.BLACK), judged(Reason.SOURCE_FAULT), judged(Reason.OVERLOAD)] * 50,
        [judged()] * 99 + [judged(Reason.NOT_FINITE)] * 4,
        [judged(latency_ms=51)] * (LEAST_FOR_LATENCY - 1),
        [judged()] * 199 + [judged(latency_ms=500)],
        [judged(Reason.ENGINE_FAULT, digest=OLD)] * 50,
    ],
    ids=["two failures", "the input's fault", "a few", "too few to tell", "one late part", "the old model's"],
)
def test_what_is_not_the_models_fault_is_not_held_against_it(parts: list[Judgement]) -> None:
    """A dark picture, an absent source, one hiccup, another model's failures: no reason to go."""
    assert after(parts, 0) is False


@pytest.mark.parametrize(
    ("latency_ms", "before_ms", "goes"),
    [(456, 440, False), (120, 40, True), (45, 15, False), (120, 81, False), (120, 0, True)],
    ids=["a slow machine", "3 x slower and above", "3 x slower, within", "above, hardly slower", "nothing to compare"],
)
def test_a_slow_machine_is_not_held_against_a_model(latency_ms: float, before_ms: float, *, goes: bool) -> None:
    """It goes when it is above its budget and clearly slower than the model before it was on the same line."""
    probation = Probation(NEW, Terms(200, 10_000_000, 50.0, before_ms), 0)
    for _ in range(LEAST_FOR_LATENCY):
        probation.add(judged(latency_ms=latency_ms))

    problem = probation.rule(0, is_silent=False)

    assert isinstance(problem, Problem) is goes
    if isinstance(problem, Problem) and before_ms:
        assert problem.detail == "p99 120 ms, its budget is 50 ms, the model before had 40 ms"


def test_a_model_that_does_not_come_back_goes() -> None:
    """Silence of the judging thread for long enough, without a break."""
    probation = Probation(NEW, TERMS, 0)

    said = [
        probation.rule(1_000_000, is_silent=True),
        probation.rule(SILENCE_US, is_silent=False),
        probation.rule(SILENCE_US + 1_000_000, is_silent=True),
        probation.rule(2 * SILENCE_US, is_silent=True),
    ]
    problem = probation.rule(2 * SILENCE_US + 1_000_000, is_silent=True)

    assert said == [False] * 4
    assert isinstance(problem, Problem)
    assert "does not come back" in problem.detail
