import random
import threading
from pathlib import Path

import pytest

from tests.edge_agent.updates.releases import Site, good, other_normalisation, placed_digest, release
from tests.gateways import READY, until

ROUNDS = [(3, 11), (25, 12)]


def run_and_kill(site: Site, rng: random.Random) -> None:
    """Start, and be killed at some moment: while it starts, fetches, proves itself, loads, swaps or is on probation."""
    running = site.gateway.start()
    if rng.random() < 0.8:
        running.await_line(READY)
    # Which moment it is nobody decides: that it is any is the test.
    threading.Event().wait(rng.uniform(0.0, 3.0))
    running.kill()


def ends(site: Site) -> list[tuple[str, str, str]]:
    """The steps at which an update ends, of the two releases that may."""
    return [each for each in site.steps() if each[0] in ("kept", "refused", "returned")]


@pytest.mark.slow
@pytest.mark.parametrize(("kills", "seed"), ROUNDS)
def test_a_killed_update_leaves_a_model_that_was_named_and_ends(tmp_path: Path, kills: int, seed: int) -> None:
    """
    Kill −9 again and again while good and bad releases are rolled out: every part was judged by the placed model or
    one that both repositories named and that proved itself, each trigger has one verdict, and each update ends.
    """
    rng = random.Random(seed)  # noqa: S311 (a nemesis, no secret)
    site = Site(tmp_path, rate_hz=100)
    try:
        first = [good(f"1.{n}.0") for n in range(1, 4)]
        bad = release("2.0.0", break_it=other_normalisation)
        proper = {placed_digest(site.gateway), *(each.digest for each in first)}
        for _ in range(kills):
            site.hub.roll_out(rng.choice([*first, bad]))
            run_and_kill(site, rng)
        site.hub.roll_out(first[0])
        with site.gateway.running() as running:
            until("the end of the update", lambda: runs(site) == (first[0].digest, "kept"), 90)
            taken = site.gateway.triggers()
            until("more parts", lambda: site.gateway.triggers() > taken + 20)
            assert running.stop() == 0, "".join(running.lines)

        site.hub.roll_out(bad)
        with site.gateway.running() as running:
            until("the refusal", lambda: site.steps()[-1] == ("refused", "2.0.0", "SelfTestFailed"), 90)
            assert running.stop() == 0, "".join(running.lines)
    finally:
        site.close()

    assert set(site.digests()) <= proper
    assert [n for n, _, _ in site.gateway.verdicts()] == list(range(1, site.gateway.triggers() + 1))
    assert runs(site) == (first[0].digest, "kept")
    assert [step for step in ends(site) if step[1] == "2.0.0" and step[0] != "refused"] == []
    assert not list((site.gateway.data / "slots").glob(".*"))


def runs(site: Site) -> tuple[str, str]:
    """What the row of the pipeline says: digest and phase."""
    rows = site.gateway.query("SELECT digest, phase FROM slots")
    return (rows[0]["digest"], rows[0]["phase"]) if rows else ("", "")
