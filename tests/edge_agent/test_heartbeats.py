from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest

from edge_agent import heartbeats
from edge_agent.agent import Agent
from edge_agent.inference import selftest
from edge_agent.inference.model import Model
from edge_agent.monitoring import heartbeat
from tests.edge_agent.updates.releases import Site, good, placed_digest
from tests.gateways import Gateway, until

OFTEN = "\n[monitoring]\nheartbeat_s = 0.2\n[store]\ncommit_s = 0.1\n"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model's first golden is asked without delay."""
    monkeypatch.setattr(heartbeat, "FIRST_US", 0)


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    """A gateway whose placed bundle has a golden."""
    gateway = Gateway(tmp_path, rate_hz=100, more=OFTEN)
    place(gateway)
    return gateway


def place(gateway: Gateway) -> None:
    """Put a bundle with a golden in the place of the one without."""
    made = good("1.0.0")
    for name, content in {"manifest.json": made.manifest, **made.files}.items():
        (gateway.data / "bundles/small-window" / name).write_bytes(content)


def corrupt(model: Model) -> None:
    """From now on this session says something else than it computes."""
    run = model.engine.run
    model.engine.run = lambda tensors: {name: 1 - values for name, values in run(tensors).items()}  # type: ignore[method-assign]


def faults(gateway: Gateway) -> list[tuple[str, bool]]:
    """The faults that a heartbeat tells, as (reason, whether it began)."""
    told = (heartbeat.DIFFERS, heartbeat.STUCK, heartbeat.UNREADABLE)
    return [(e["reason"], e["active"]) for e in gateway.events("fault") if e["reason"] in told]


def answered(gateway: Gateway) -> None:
    """Every trigger has one verdict."""
    assert [n for n, _, _ in gateway.verdicts()] == list(range(1, gateway.triggers() + 1))


def test_a_live_engine_that_goes_wrong_is_replaced_while_the_line_runs(gateway: Gateway) -> None:
    """Found between two parts, quarantined, loaded anew: the parts in between are UNINSPECTED, and none is lost."""
    with gateway.inside() as agent:
        pipeline = agent._pipelines["engine"]
        until("verdicts", lambda: len(gateway.verdicts()) > 5)
        before = pipeline.model
        corrupt(before)
        until("another engine", lambda: pipeline.model is not before)
        until("the end of the fault", lambda: faults(gateway) == [("golden-differs", True), ("golden-differs", False)])
        ready = agent._heartbeats.unready()
        taken = gateway.triggers()
        until("more verdicts", lambda: len(gateway.verdicts()) > taken + 5)

    answered(gateway)
    assert ready == {}
    (began, _) = [e for e in gateway.events("fault") if e["reason"] == "golden-differs"]
    assert began["detail"].startswith("engine of golden.npy: probe")
    assert gateway.verdicts()[-1][1] != "UNINSPECTED"


def test_without_a_release_before_it_stays_quarantined_and_says_so(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is loaded anew is as wrong, and there is no hub: no part is judged by it, the gateway is not ready."""
    load = heartbeats._load

    def damaged(folder: Path, model: Model) -> Model:
        fresh = load(folder, model)
        corrupt(fresh)
        return fresh

    monkeypatch.setattr(heartbeats, "_load", damaged)
    with gateway.inside() as agent:
        until("verdicts", lambda: len(gateway.verdicts()) > 5)
        corrupt(agent._pipelines["engine"].model)
        until("the second fault", lambda: ("no-way-back", True) in faults(gateway))
        unready = agent._heartbeats.unready()
        until("a part", lambda: gateway.verdicts()[-1][2] == "QUARANTINED")
        state = agent._report.pipelines()[0]

    answered(gateway)
    assert unready["engine"].startswith("it is quarantined: engine of golden.npy")
    assert not state.ready
    (stuck,) = [e for e in gateway.events("fault") if e["reason"] == "no-way-back"]
    assert stuck["detail"].endswith("there is no release to go back to")
    assert gateway.verdicts()[-1][1:] == ("UNINSPECTED", "QUARANTINED")


def checked(gateway: Gateway) -> Any:
    """What is on record of goldens that were passed."""
    return gateway.query("SELECT digest, variant, environment, at_us FROM checks")


def test_goldens_are_checked_before_the_line_where_libraries_have_changed(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a first start, and again under another OpenCV, before the first part; else after the first parts."""
    monkeypatch.setattr(heartbeat, "FIRST_US", 2**62)
    looks: list[str] = []
    check = selftest.check

    def look(model: Model, folder: Path) -> list[selftest.Difference]:
        looks.append(model.digest)
        return check(model, folder)

    monkeypatch.setattr(selftest, "check", look)
    digest = placed_digest(gateway)

    def start(agent: Agent | None = None) -> int:
        looks.clear()
        with gateway.inside():
            pass
        return len(looks)

    assert (start(), start()) == (1, 0)
    (row,) = checked(gateway)
    assert (row["digest"], row["variant"], row["environment"]) == (digest, "fp32", selftest.environment())
    monkeypatch.setattr(cv2, "__version__", "4.0.0")
    assert (start(), start()) == (1, 0)
    assert "opencv 4.0.0" in checked(gateway)[0]["environment"]


def test_a_start_is_ready_when_the_goldens_have_passed(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a first start before the line runs; where they have passed before, the line runs and neighbours wait."""
    with gateway.inside() as agent:
        first = agent._heartbeats.unready()
    monkeypatch.setattr(heartbeat, "FIRST_US", 2**62)
    with gateway.inside() as agent:
        awaited = agent._heartbeats.unready()
    monkeypatch.setattr(heartbeat, "FIRST_US", 0)
    with gateway.inside() as agent:
        until("the goldens", lambda: not agent._heartbeats.unready())

    assert (first, awaited) == ({}, {"engine": "it is being asked its goldens"})


def test_a_start_under_libraries_that_judge_otherwise_judges_no_part(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What differs before the first part is quarantined before the first part."""
    monkeypatch.setattr(selftest, "PROBES", 7)
    with gateway.inside():
        until("the second fault", lambda: ("no-way-back", True) in faults(gateway))
        until("verdicts", lambda: len(gateway.verdicts()) > 5)

    assert {verdict for _, verdict, _ in gateway.verdicts()} == {"UNINSPECTED"}
    assert {reason for _, _, reason in gateway.verdicts()} <= {"QUARANTINED", "OVERLOAD"}
    assert checked(gateway) == []


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A gateway with a hub."""
    site = Site(tmp_path, more="\n[monitoring]\nheartbeat_s = 0.2\n")
    yield site
    site.close()


@pytest.mark.slow
def test_what_goes_wrong_again_gives_way_to_the_release_before_it(site: Site) -> None:
    """Its engine is replaced once; the second time the update machine puts the release before it back, and says why."""
    place(site.gateway)
    made = good("1.1.0")
    site.hub.roll_out(made)
    with site.gateway.inside() as agent:
        pipeline = agent._pipelines["engine"]
        until("the end of the probation", lambda: ("kept", "1.1.0", "") in site.steps(), 60)
        first = pipeline.model
        corrupt(first)
        until("another engine", lambda: pipeline.model is not first)
        corrupt(pipeline.model)
        until("the release before", lambda: pipeline.model.digest == placed_digest(site.gateway), 60)
        until("verdicts", lambda: site.gateway.verdicts()[-1][1] != "UNINSPECTED")
        until("the end of the fault", lambda: faults(site.gateway)[-1:] == [("golden-differs", False)])

    answered(site.gateway)
    (row,) = site.gateway.query("SELECT * FROM updates WHERE step = 'returned'")
    assert (row["digest"], row["refusal"]) == (made.digest, "SelfTestFailed")
    assert row["detail"].startswith("engine of golden.npy")
    assert site.gateway.query("SELECT digest FROM refused") == [{"digest": made.digest}]
