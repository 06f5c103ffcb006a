import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import settings as run_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_agent.clock import FixedClock
from edge_agent.inference.lane import BUFFERS
from edge_agent.inference.model import Model
from edge_agent.inference.pipeline import Override, Pipeline
from edge_agent.judgement import Judgement
from edge_agent.sample import Channel, Look, Sample, Trigger
from edge_agent.settings import Guard as GuardSettings
from edge_agent.settings import Policy
from edge_agent.sources.guard import Guard
from edge_protocol.bundle import OperatingPoint
from edge_protocol.codes import Reason, Verdict
from tests.edge_agent.inference import small_bundles
from tests.edge_agent.inference.small_bundles import LENGTH
from tests.edge_agent.inference.test_pipeline import not_a_number

NOW = 0.0
DEADLINE_MS = 100.0
BAD = [
    b"",
    np.zeros(LENGTH),
    np.ones(3),
    np.full(LENGTH, np.nan),
    np.ones(LENGTH, "M8[s]"),
    np.linspace(-1, 1, LENGTH) * 1e200,
]
"""Refused by the decoder, by the guard, and the last one only when its tensor is written."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Model]:
    """Two releases of a model, and one whose answers are no numbers."""
    root = tmp_path_factory.mktemp("bundles")
    broken = {"fp32.onnx": not_a_number()}
    return [
        Model.load(small_bundles.write_window_bundle(root / "one")),
        Model.load(small_bundles.write_window_bundle(root / "two", version="2.0.0")),
        Model.load(small_bundles.write_bundle(root / "broken", small_bundles.window_manifest(version="3.0.0"), broken)),
    ]


def window(seed: int) -> Sample:
    """A window of noise."""
    return Sample({"signal": Channel(np.random.default_rng(seed).normal(size=LENGTH), 0)})


class Line:
    """A pipeline with all it needs, and what became of its triggers."""

    def __init__(self, model: Model, clock: FixedClock | None = None, **keys: Any) -> None:
        self.clock = clock or FixedClock()
        self.judged: list[Judgement] = []
        self.n = 0
        guard = Guard(GuardSettings(), "window").check
        self.pipeline = Pipeline("seal", model, guard=guard, emit=self.judged.append, clock=self.clock, **keys)

    def trigger(self) -> Trigger:
        """The next trigger, now."""
        self.n += 1
        return Trigger(1, self.n, self.clock.wall_us(), self.clock.mono_us())

    def admit(self, sample: Sample) -> None:
        """The next trigger with this sample."""
        self.pipeline.admit(self.trigger(), sample)

    def drain(self) -> list[Reason]:
        """Judge all there is; the reasons of everything judged so far."""
        while self.pipeline.step(NOW):
            pass
        return [judgement.reason for judgement in self.judged]


class Conservation(RuleBasedStateMachine):
    """Whatever happens in whatever order: a trigger enters, one of four verdicts leaves, once and in its turn."""

    policy: Policy
    models: list[Model]

    @initialize()
    def begin(self) -> None:
        """A line that nothing has happened to."""
        self.line = Line(self.models[0], policy=self.policy, sample_every=3, deadline_ms=DEADLINE_MS)
        self.lanes = {id(self.line.pipeline._lane): self.line.pipeline._lane}
        self.entered: list[bytes] = []
        self.probed: list[bool] = []
        self.asked = 0

    def enter(self, sample: Sample) -> None:
        """A trigger enters; a line that would wait for its own thread is stepped."""
        lane = self.line.pipeline._lane
        while self.policy != "latest" and lane.free.empty() and self.line.pipeline.step(NOW):
            pass
        self.entered.append(bytes.fromhex(self.line.pipeline.model.digest))
        self.line.admit(sample)

    @rule(seed=st.integers(0, 9))
    def good(self, seed: int) -> None:
        """A part that can be judged."""
        self.enter(window(100 * self.line.n + seed))

    @rule(data=st.sampled_from(BAD))
    def bad(self, data: Any) -> None:
        """An input that nothing can be judged of."""
        self.enter(Sample({"signal": Channel(data, 0)}))

    @rule(reason=st.sampled_from([Reason.SOURCE_FAULT, Reason.UNREADABLE]))
    def fault(self, reason: Reason) -> None:
        """A source that has nothing."""
        self.enter(Sample(fault=reason))

    @rule()
    def overload(self) -> None:
        """A part that nobody was there for."""
        self.entered.append(bytes.fromhex(self.line.pipeline.model.digest))
        self.line.pipeline.refuse(self.line.trigger(), Reason.OVERLOAD)

    @rule(which=st.integers(0, 2))
    def swap(self, which: int) -> None:
        """Another model, or one whose engine is at fault."""
        self.line.pipeline.swap(self.models[which])
        self.lanes[id(self.line.pipeline._lane)] = self.line.pipeline._lane

    @rule(which=st.integers(0, 2))
    def quarantine(self, which: int) -> None:
        """A model is not trusted any more."""
        self.line.pipeline.quarantine(self.models[which])

    @rule()
    def release(self) -> None:
        """Every model is trusted again."""
        self.line.pipeline.release()

    @rule(ms=st.sampled_from([1, 60, 101]))
    def wait(self, ms: int) -> None:
        """Time goes by; what waits may be late."""
        self.line.clock.advance(ms * 1000)

    @rule()
    def probe(self) -> None:
        """The live engine is asked between two parts."""
        model = self.line.pipeline.model
        self.asked += 1
        self.line.pipeline.probe(model, model.new_tensor(), lambda _found: self.probed.append(True))

    @rule(count=st.integers(1, 5))
    def judge(self, count: int) -> None:
        """The judging thread has its turn."""
        for _ in range(count):
            self.line.pipeline.step(NOW)

    @invariant()
    @precondition(lambda self: hasattr(self, "line"))
    def what_left_is_what_entered(self) -> None:
        """At each moment what has left is the beginning of what has entered, each by the model it entered with."""
        left = [(judgement.trigger.n, judgement.context.digest) for judgement in self.line.judged]
        assert left == list(enumerate(self.entered, 1))[: len(left)]
        for judgement in self.line.judged:
            is_judged = judgement.verdict is not Verdict.UNINSPECTED
            assert is_judged == (judgement.score is not None) == bool(judgement.signals)
            assert is_judged == (judgement.reason.value < 100)

    def teardown(self) -> None:
        """When the line has come to rest nothing is left inside, no trigger, no question and no tensor."""
        if hasattr(self, "line"):
            self.line.drain()
            self.what_left_is_what_entered()
            assert len(self.line.judged) == len(self.entered) == self.line.n
            assert len(self.probed) == self.asked
            assert {lane.free.qsize() for lane in self.lanes.values()} == {BUFFERS}


@pytest.mark.parametrize("policy", ["every", "latest", "sample"])
def test_what_enters_leaves_once(models: list[Model], policy: Policy) -> None:
    """Triggers are conserved under each policy, by faults, swaps, quarantine, lateness and overload in any order."""
    machine = type(f"Conservation_{policy}", (Conservation,), {"policy": policy, "models": models})
    case = machine.TestCase
    case.settings = run_settings(max_examples=15, stateful_step_count=40, deadline=None)

    case().runTest()


def test_the_latest_part_goes_first(models: list[Model]) -> None:
    """
    While nobody judges, each new part takes the place of those that wait; they leave SKIPPED, all in their turn, and
    the line is never held up.
    """
    line = Line(models[0], policy="latest")
    for seed in range(2 * BUFFERS + 1):
        line.admit(window(seed))

    reasons = line.drain()

    assert [reason is Reason.SKIPPED for reason in reasons] == [True] * 2 * BUFFERS + [False]
    assert [judgement.trigger.n for judgement in line.judged] == list(range(1, line.n + 1))


def test_a_part_that_cannot_be_judged_takes_nobodys_place(models: list[Model]) -> None:
    """With `latest`, what is no input at all pushes no waiting part out."""
    line = Line(models[0], policy="latest")
    for seed in range(BUFFERS):
        line.admit(window(seed))
    line.admit(Sample({"signal": Channel(b"", 0)}))

    assert [reason is Reason.UNREADABLE for reason in line.drain()] == [False] * BUFFERS + [True]
    assert Reason.SKIPPED not in line.drain()


def test_a_sample_of_the_parts_is_judged(models: list[Model]) -> None:
    """With `sample` every n-th part is judged, the first among them, and the others say that they were not."""
    line = Line(models[0], policy="sample", sample_every=3)
    for seed in range(7):
        line.admit(window(seed))
        line.drain()

    assert [reason is Reason.SKIPPED for reason in line.drain()] == [False, True, True] * 2 + [False]
    assert {j.verdict for j in line.judged if j.reason is Reason.SKIPPED} == {Verdict.UNINSPECTED}


def test_a_part_whose_deadline_passes_while_it_waits_is_late(models: list[Model]) -> None:
    """A part that no tensor is free for does not wait beyond its deadline: it is LATE, and the line goes on."""
    line = Line(models[0], deadline_ms=DEADLINE_MS)
    trigger = line.trigger()
    for seed in range(BUFFERS):
        line.admit(window(seed))
    line.clock.advance(round(DEADLINE_MS * 1000) + 1)

    line.pipeline.admit(trigger, window(99))

    late = {judgement.trigger.n: judgement.reason for judgement in line.judged} if line.drain() else {}
    assert late[trigger.n] is Reason.LATE


class Slow(FixedClock):
    """A clock on which every look at it costs so much."""

    cost_us = 0

    def mono_us(self) -> int:
        self.advance(self.cost_us)
        return super().mono_us()


def test_a_verdict_that_comes_too_late_is_none(models: list[Model]) -> None:
    """A part that was judged in time to begin and not in time to end is LATE, whatever was found."""
    clock = Slow()
    line = Line(models[0], clock, deadline_ms=DEADLINE_MS)
    line.admit(window(1))
    clock.cost_us = 60_000

    line.drain()

    (judgement,) = line.judged
    assert (judgement.verdict, judgement.reason, judgement.score) == (Verdict.UNINSPECTED, Reason.LATE, None)


def test_what_comes_too_late_counts_in_no_persistence(models: list[Model]) -> None:
    """Two of two for an NG: a part that was LATE is none of them, whatever was found on it."""
    clock = Slow()
    line = Line(models[0], clock, deadline_ms=DEADLINE_MS)
    point = OperatingPoint(accept=-2.0, reject=-1.0, persistence=(2, 2))
    line.pipeline.judge_by(Override(models[0].digest, point, b"1" * 32))
    for seed, cost_us in enumerate((60_000, 0, 0)):
        clock.cost_us = 0
        line.admit(window(seed))
        clock.cost_us = cost_us
        line.drain()

    assert [judgement.verdict for judgement in line.judged] == [Verdict.UNINSPECTED, Verdict.REVIEW, Verdict.NG]


def test_what_waits_when_its_engine_is_quarantined_is_not_judged(models: list[Model]) -> None:
    """Also what was admitted before: nothing that a distrusted engine would say leaves; after the release it does."""
    line = Line(models[0])
    line.admit(window(1))
    line.pipeline.quarantine(models[0])
    line.admit(window(2))
    line.drain()
    line.pipeline.release()
    line.admit(window(3))

    assert [reason is Reason.QUARANTINED for reason in line.drain()] == [True, True, False]


def test_each_stage_is_told_once_a_part(models: list[Model]) -> None:
    """Reading, preparing, waiting, running and concluding are told apart, each once for a part that is judged."""
    told: list[str] = []
    line = Line(models[0], observe=lambda stage, _seconds: told.append(stage))
    line.admit(window(1))
    line.admit(Sample(fault=Reason.SOURCE_FAULT))
    line.drain()

    assert told == ["decode", "pre", "queue", "infer", "post"]


def test_what_is_not_trusted_says_what_was_seen(models: list[Model]) -> None:
    """A guard's reason comes with the figures it had before it and its keys, so that a limit can be set by them."""
    line = Line(models[0])
    line.pipeline.swap(models[0], lambda _look: Reason.BLUR)
    line.admit(window(1))
    line.drain()

    assert line.judged[0].reason is Reason.BLUR
    assert "rms " in line.judged[0].detail
    assert line.judged[0].detail.endswith("by [pipelines.guard] blur_share or blur_below")


def test_an_input_that_nobody_foresaw_costs_its_own_part(models: list[Model]) -> None:
    """An error of a kind that nothing is written for is UNREADABLE with its words; the next part is judged."""

    def guard(look: Look) -> Reason:
        if look.values[0] == 7:
            raise ZeroDivisionError
        return Reason.NONE

    line = Line(models[0])
    line.pipeline.swap(models[0], guard)
    values = np.random.default_rng(0).normal(size=LENGTH)
    line.admit(Sample({"signal": Channel(np.concatenate([[7.0], values[1:]]), 0)}))
    line.admit(Sample({"signal": Channel(values, 0)}))

    assert [reason.value < 100 for reason in line.drain()] == [False, True]
    assert line.judged[0].reason is Reason.UNREADABLE
    assert "ZeroDivisionError" in line.judged[0].detail


@pytest.mark.parametrize("policy", ["every", "latest", "sample"])
def test_two_threads_conserve_too(models: list[Model], policy: Policy) -> None:
    """With a thread that admits, one that judges and one that swaps, each trigger leaves once and in order."""
    line, count, stop = Line(models[0], policy=policy, sample_every=3), 300, threading.Event()
    samples = [window(seed) for seed in range(20)]

    def feed() -> None:
        for n in range(count):
            line.admit(samples[n % 20])
        stop.set()

    def swap() -> None:
        while not stop.wait(0.001):
            line.pipeline.swap(models[line.pipeline.model is models[0]])

    threads = [threading.Thread(target=feed), threading.Thread(target=swap)]
    for thread in threads:
        thread.start()
    while len(line.judged) < count and line.pipeline.step(10):
        pass
    for thread in threads:
        thread.join()

    assert [judgement.trigger.n for judgement in line.judged] == list(range(1, count + 1))
