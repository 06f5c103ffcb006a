import random
from collections.abc import Callable

import pytest

from edge_agent.errors import InferenceError
from edge_agent.inference.tuning import MOST_THREADS, Plan, Tuning, fingerprint, grid, interval, is_faster, tune

MS = 0.001


class Bench:
    """Models whose runs take a known time on a clock of their own, with a neighbour who disturbs now and then."""

    def __init__(self, times_ms: dict[tuple[str, int, bool], float], noise: float = 0.0, load_s: float = 0.0) -> None:
        self.now_s = 0.0
        self.loaded: list[Plan] = []
        self._times_ms = times_ms
        self._noise = noise
        self._load_s = load_s
        self._rng = random.Random(4)  # noqa: S311 (no secret)

    def now(self) -> float:
        """Seconds."""
        return self.now_s

    def load(self, plan: Plan) -> Callable[[], None]:
        """A model of a plan; one whose time is not known does not load."""
        self.loaded.append(plan)
        self.now_s += self._load_s
        if plan.choice not in self._times_ms:
            message = "no memory"
            raise InferenceError(message)

        def run() -> None:
            self.now_s += self._times_ms[plan.choice] * MS * (1 + self._noise * self._rng.random())

        return run

    def tune(self, seconds: float = 60.0) -> Tuning:
        """The best of all that it knows."""
        return tune([Plan(*choice) for choice in self._times_ms], self.load, seconds, self.now)


@pytest.mark.parametrize(
    ("quota", "threads"), [(0.2, [1]), (1.0, [1]), (1.9, [1]), (2.0, [1, 2]), (64.0, list(range(1, MOST_THREADS + 1)))]
)
def test_no_plan_has_more_threads_than_the_quota_has_processors(quota: float, threads: list[int]) -> None:
    """Whole processors of the cgroup's quota, and no more than are of use; one there always is."""
    plans = grid(("a", "b"), quota)

    assert plans[0] == Plan("a", 1, arena=True)
    assert sorted({plan.threads for plan in plans}) == threads
    assert len({plan.choice for plan in plans}) == 2 * 2 * len(threads)


def test_the_fastest_is_chosen_whoever_was_first() -> None:
    """Of eight plans the one that takes least, with what it took."""
    times = {plan.choice: 10.0 - n for n, plan in enumerate(grid(("a", "b"), 2.0))}

    found = Bench(times, noise=0.3).tune()

    assert found.plan.choice == list(times)[-1]
    assert 3.0 <= found.plan.p50_ms <= 3.0 * 1.3


def test_what_is_no_faster_beyond_doubt_changes_nothing() -> None:
    """Two that differ by less than the noise, or by less than matters: the first stays."""
    first, second = ("a", 1, True), ("a", 2, True)

    assert Bench({first: 10.0, second: 9.9}, noise=0.5).tune().plan.choice == first
    assert Bench({first: 10.0, second: 9.9}).tune().plan.choice == first


def test_one_that_does_not_load_is_no_candidate() -> None:
    """It is told why; the others are compared. When the first does not load, the next stands in its place."""
    bench = Bench({("a", 2, True): 5.0, ("a", 2, False): 4.0})

    found = tune([Plan("gone"), Plan("a", 2), Plan("gone", 2), Plan("a", 2, False)], bench.load, 60.0, bench.now)

    assert found.plan.choice == ("a", 2, False)
    assert [each.note for each in found.tried] == ["it does not run: no memory", "", "it does not run: no memory", ""]
    with pytest.raises(InferenceError, match="no memory"):
        tune([Plan("gone"), Plan("gone", 2)], bench.load, 60.0, bench.now)


def test_when_the_time_is_over_the_best_so_far_is_the_plan() -> None:
    """What was not tried is said; the search takes little more than it was given."""
    times = {plan.choice: 10.0 - n for n, plan in enumerate(grid(("a", "b"), 4.0))}
    bench = Bench(times, load_s=1.0)

    found = bench.tune(seconds=4.0)

    assert bench.now_s < 10.0
    assert found.tried[-1].note == "no time left"
    assert len(bench.loaded) < len(times)
    assert found.plan.choice in {plan.choice for plan in bench.loaded}


def test_a_hint_of_speed_is_none() -> None:
    """Few blocks, or an interval that reaches one, decide nothing."""
    assert is_faster([0.8] * 9)
    assert not is_faster([0.8] * 3)
    assert not is_faster([0.7, 1.3, 0.7, 1.3, 0.7, 1.3, 0.7, 1.3, 0.95])
    assert interval([0.5] * 9) == (0.5, 0.5)


def test_another_machine_has_another_fingerprint() -> None:
    """Processor, flags, quota and runtime each change it; the order of the flags does not."""
    here = ("x86_64", frozenset({"avx2", "fma"}), 2.0, "1.32.0")
    others = [
        ("aarch64", *here[1:]),
        (here[0], frozenset({"avx2"}), 2.0, "1.32.0"),
        (*here[:2], 1.5, "1.32.0"),
        (*here[:3], "1.33.0"),
    ]

    marks = {fingerprint(*each) for each in [here, *others]}

    assert len(marks) == 5
    assert fingerprint(here[0], frozenset(["fma", "avx2"]), *here[2:]) == fingerprint(*here)
