from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.edge_agent.updates.releases import Site, good, other_normalisation, placed_digest, release
from tests.gateways import until


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site whose gateway is not yet running."""
    site = Site(tmp_path)
    yield site
    site.close()


def test_a_release_that_both_name_is_fetched_proved_and_kept(site: Site) -> None:
    """Message in, placed in a slot, proved, swapped, kept: with no trigger lost or doubled, and the batches say so."""
    made = good("1.1.0")
    site.hub.roll_out(made)

    with site.gateway.inside() as agent:
        assert agent._updates is not None
        renewal = agent._updates._renewals["engine"]
        probation: Any = until("a probation", lambda: renewal.probation, 60)
        until("the end of the probation", lambda: ("kept", "1.1.0", "") in site.steps(), 60)
        until("verdicts of the new model", lambda: made.digest in site.digests())

    numbers = [n for n, _, _ in site.gateway.verdicts()]
    assert numbers == list(range(1, site.gateway.triggers() + 1))
    assert site.digests() == [placed_digest(site.gateway), made.digest]
    assert [step for step, _, _ in site.steps()] == ["wanted", "staged", "probation", "kept"]
    assert 0 < probation._terms.before_ms < 1000  # as the model before was on this line, by the record
    (slot,) = site.gateway.query("SELECT * FROM slots")
    assert (slot["digest"], slot["previous"], slot["phase"]) == (made.digest, placed_digest(site.gateway), "kept")


def test_a_release_that_judges_otherwise_here_is_refused(site: Site) -> None:
    """Another normalisation than the goldens were made with: SelfTestFailed names the stage, the line goes on."""
    site.hub.roll_out(release("1.2.0", break_it=other_normalisation))

    with site.gateway.inside():
        until("the refusal", lambda: [step for step, _, _ in site.steps()] == ["wanted", "staged", "refused"], 60)
        taken = site.gateway.triggers()
        until("more parts", lambda: site.gateway.triggers() > taken + 10)

    (row,) = site.gateway.query("SELECT * FROM updates WHERE step = 'refused'")
    assert row["refusal"] == "SelfTestFailed"
    assert row["detail"].startswith("normalise of golden.npy")
    assert site.digests() == [placed_digest(site.gateway)]
