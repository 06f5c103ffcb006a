import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent import agent as agent_module
from edge_agent.updates.workshop import Workshop
from tests.edge_agent.updates.releases import Site, good, other_normalisation, placed_digest, release
from tests.gateways import ask, until


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


@pytest.mark.slow
def test_with_no_slot_that_loads_the_placed_bundle_judges_until_it_is_healed(site: Site) -> None:
    """The disk damaged the file that both slots share: the line judges, and the release is fetched and proved anew."""
    made = good("1.1.0")
    site.hub.roll_out(made)
    with site.gateway.inside():
        until("the end of the probation", lambda: ("kept", "1.1.0", "") in site.steps(), 60)
    for slot in (site.gateway.data / "slots").iterdir():
        (slot / "fp32.onnx").write_bytes(b"noise")
    damaged = ask("models", "--config", str(site.gateway.config), "--json")

    with site.gateway.inside() as agent:
        first = agent._pipelines["engine"].model.digest
        until("it to be healed", lambda: site.steps()[-1] == ("kept", "1.1.0", "") and len(site.steps()) > 5, 60)
        healed = ask("models", "--config", str(site.gateway.config), "--json")

    states = [row["state"] for row in json.loads(damaged.stdout)]
    assert states == ["whole", "whole", *["fp32.onnx is not the file that the manifest names"] * 2]
    assert first == placed_digest(site.gateway)
    assert site.steps()[4] == ("returned", "1.1.0", "Unstable")
    assert [(row["version"], row["pipelines"]) for row in json.loads(healed.stdout) if row["pipelines"]] == [
        ("1.1.0", ["engine"])
    ]
    assert [n for n, _, _ in site.gateway.verdicts()] == list(range(1, site.gateway.triggers() + 1))


def test_no_update_can_end_the_agent(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something nobody expected in an update is a fault that is told; the line goes on, and so does the update."""
    made = good("1.1.0")
    site.hub.roll_out(made)
    monkeypatch.setattr(agent_module, "UPDATE_PAUSE_S", 0.5)
    failures = iter([ZeroDivisionError("nobody expected this")])
    collect = Workshop.collect

    def fail_once(*arguments: Any) -> None:
        for failure in failures:
            raise failure
        collect(*arguments)

    monkeypatch.setattr(Workshop, "collect", fail_once)

    with site.gateway.inside():
        until("the end of the probation", lambda: ("kept", "1.1.0", "") in site.steps(), 60)

    faults = [event for event in site.gateway.events("fault") if event["part"] == "updates"]
    assert [event["active"] for event in faults] == [True, False]
    assert "nobody expected this" in faults[0]["detail"]
