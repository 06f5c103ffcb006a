"""The allowance: a burst of the whole budget, and in the long run no more than the budget in its time."""

import random

from edge_agent.diagnostics.allowance import Allowance


def test_in_the_long_run_no_more_is_written_than_allowed() -> None:
    """Whatever comes, and however unevenly: the budget once, the budget per time, and one piece."""
    rng = random.Random(3)  # noqa: S311 (seeded: a failure is found again)
    allowance, now_us, written = Allowance(1000, 10.0), 0, 0
    for _ in range(5000):
        now_us += rng.choice((0, 1000, 50_000))
        piece = rng.randrange(1, 100)
        if allowance.is_left(now_us):
            allowance.spend(piece)
            written += piece

        assert written <= 1000 + 100 * now_us / 1e6 + 100

    assert written > 0.9 * 100 * now_us / 1e6


def test_what_was_not_written_is_not_saved_up() -> None:
    """After a quiet day there is one budget, not a day's."""
    allowance = Allowance(1000, 10.0)
    allowance.is_left(0)

    allowance.is_left(86_400 * 10**6)
    allowance.spend(1000)

    assert not allowance.is_left(86_400 * 10**6)
