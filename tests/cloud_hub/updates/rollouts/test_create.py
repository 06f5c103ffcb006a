"""A rollout is made as asked, or refused with every reason at once."""

import pytest
from sqlalchemy import func, select, update

from cloud_hub.errors import RolloutError
from cloud_hub.storage.schema import bundles, rollouts
from cloud_hub.updates.rollouts import create, views
from cloud_hub.updates.rollouts.plan import Action, Gates, Plan, Selection
from tests.cloud_hub.updates.rollouts.works import NAME, OF_ANOTHER_WORLD, V1, V2, V3, Release, Works
from tests.cloud_hub.web.factory_floor import ENGINE


def refused(works: Works, plan: Plan) -> str:
    """Why a plan is refused; nothing may be left of it."""
    with pytest.raises(RolloutError) as caught:
        works.create(plan)
    with works.database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(rollouts)).scalar_one() == 0
    assert caught.value.hint
    return str(caught.value)


@pytest.fixture
def fleet(works: Works) -> Works:
    """Four gateways in two lines of two sites; one runs another bundle, one has two pipelines."""
    works.gateway("press-1", site="berlin", line="a", labels={"stage": "canary"})
    works.gateway("press-2", "seal", "rim", site="berlin", line="b")
    works.gateway("pump-1", "engine", runs=ENGINE, site="berlin", line="a")
    works.gateway("oven-1", site="essen", line="a")
    return works


@pytest.mark.parametrize(
    ("selection", "meant"),
    [
        (Selection(), ["oven-1 seal", "press-1 seal", "press-2 rim", "press-2 seal"]),
        (Selection(sites=("berlin",)), ["press-1 seal", "press-2 rim", "press-2 seal"]),
        (Selection(sites=("berlin", "essen"), lines=("a",)), ["oven-1 seal", "press-1 seal"]),
        (Selection(labels={"stage": "canary"}), ["press-1 seal"]),
        (Selection(gateways=("press-2",), pipelines=("rim",)), ["press-2 rim"]),
        (Selection(pipelines=("engine",)), ["pump-1 engine"]),
    ],
)
def test_a_selection_means_pipelines(fleet: Works, selection: Selection, meant: list[str]) -> None:
    """
    Every criterion must hold; without named pipelines it is those that run the bundle now.
    """
    found = fleet.create(fleet.plan(selection=selection, waves=("100%",)))

    assert sorted(f"{each.gateway} {each.pipeline}" for each in found.members) == meant


def test_pipelines_of_one_gateway_are_in_one_wave(fleet: Works) -> None:
    """
    A wave counts gateways: two pipelines of one are updated together.
    """
    found = fleet.create(fleet.plan(waves=("1", "1", "1")))

    assert {each.wave for each in found.members if each.gateway == "press-2"} == {2}


def test_the_manifest_sets_the_budget(fleet: Works) -> None:
    """
    The latency gate asks for what the signed manifest promises, or for what the plan says.
    """
    first = fleet.create(fleet.plan(selection=Selection(gateways=("press-1",))))
    second = fleet.create(fleet.plan(selection=Selection(gateways=("press-2",)), gates=Gates(latency_ms=9.0)))

    assert (first.plan.gates.latency_ms, second.plan.gates.latency_ms) == (50.0, 9.0)


def test_what_runs_before_is_kept(fleet: Works) -> None:
    """
    Each member knows what its pipeline runs now, by the gateway's signed word.
    """
    found = fleet.create(fleet.plan())

    assert {each.previous for each in found.members} == {V1.target}


def test_an_empty_selection_is_refused(fleet: Works) -> None:
    """
    Nobody meant is no rollout.
    """
    assert "nothing is selected" in refused(fleet, fleet.plan(selection=Selection(sites=("nowhere",))))


def test_waves_that_do_not_add_up_are_refused(fleet: Works) -> None:
    """
    Waves are checked against the gateways that can run it.
    """
    assert "they cover 2 of 3 gateways" in refused(fleet, fleet.plan(waves=("1", "1")))


def test_an_unsigned_bundle_is_refused(fleet: Works) -> None:
    """
    What only lies in the catalogue is not rolled out.
    """
    unsigned = Release(NAME, "1.3.0", V1.signals)
    fleet.publish(unsigned, publisher="")

    assert "not signed by a publisher" in refused(fleet, fleet.plan(unsigned))


def test_a_bundle_below_its_floor_is_refused(fleet: Works) -> None:
    """
    The publisher's floor of a name holds for every older version of it.
    """
    with fleet.database.writing() as connection:
        connection.execute(update(bundles).where(bundles.c.version == "1.2.0").values(floor="1.2.0"))

    assert "1.1.0 is below its publisher's floor 1.2.0" in refused(fleet, fleet.plan(V2))


def test_a_bundle_nobody_can_run_is_refused_with_the_list(fleet: Works) -> None:
    """
    Each selected gateway is named with what it lacks.
    """
    fleet.publish(OF_ANOTHER_WORLD)

    said = refused(fleet, fleet.plan(OF_ANOTHER_WORLD))

    for name in ("press-1 seal", "press-2 rim", "oven-1 seal"):
        assert f"{name}: it has no variant for this x86_64 processor" in said


def test_all_reasons_are_said_at_once(fleet: Works) -> None:
    """
    Whoever corrects a plan learns of everything that is wrong with it.
    """
    unsigned = Release(NAME, "0.1.0", V1.signals)
    fleet.publish(unsigned, publisher="", floor="0.2.0")

    said = refused(fleet, fleet.plan(unsigned, waves=("1", "50%"), selection=Selection(gateways=("press-1", "ghost"))))

    for reason in ("not signed", "below its publisher's floor 0.2.0", "must be 100%", "ghost: it is not enrolled"):
        assert reason in said


def test_who_cannot_run_it_is_excluded_with_the_reason(fleet: Works) -> None:
    """
    Gateways that are silent, lack a pipeline or are in another rollout take no part, and the others do.
    """
    fleet.floor.enrol("new-1", site="berlin")
    fleet.create(fleet.plan(V3, selection=Selection(gateways=("press-1",))))
    chosen = ("new-1", "pump-1", "press-1", "press-2")

    found = fleet.create(fleet.plan(waves=("100%",), selection=Selection(gateways=chosen, pipelines=("seal",))))

    assert {each.gateway: each.reason for each in found.members} == {
        "new-1": "it has never said what it runs",
        "pump-1": "it has no such pipeline",
        "press-1": "it is in rollout 1, which is running",
        "press-2": "",
    }
    assert found.waves == 1


def test_what_could_not_be_given_back_is_said_before(fleet: Works) -> None:
    """
    A rollout that is to revert on failure needs a signed release to go back to on every pipeline.
    """
    with fleet.database.writing() as connection:
        connection.execute(update(bundles).where(bundles.c.version == "1.0.0").values(publisher=""))

    said = refused(fleet, fleet.plan(on_failure=Action.REVERT, selection=Selection(gateways=("press-1",))))

    assert "press-1 seal runs surface-anomaly 1.0.0, which could not be given back" in said


def test_a_release_is_named_by_name_and_version(fleet: Works) -> None:
    """
    One that is not in the catalogue is refused with those that are.
    """
    with fleet.database.reading() as connection:
        assert create.target(connection, NAME, "1.1.0") == V2.target
        with pytest.raises(RolloutError) as caught:
            create.target(connection, NAME, "9.9.9")

    assert "1.0.0, 1.1.0, 1.2.0" in caught.value.hint


def test_explain_says_why_a_gateway_has_it_not(fleet: Works) -> None:
    """
    For each member: why, by which rule, what was seen, how long it still has.
    """
    fleet.create(fleet.plan(waves=("1", "100%"), gates=Gates(ng_factor=2.0)))
    fleet.look()
    fleet.look(60)

    with fleet.database.reading() as connection:
        first, last, *_ = views.explain(connection, 1, None, fleet.clock.wall_us())
        assert views.explain(connection, 1, "pump-1", fleet.clock.wall_us()) == []

    assert (first.gateway, first.state, first.left_s) == ("oven-1", "assigned", 540)
    assert first.why.startswith("not proved yet: 0 of 20 verdicts")
    assert first.rule == (
        "at least 20 signed verdicts of surface-anomaly 1.1.0, UNINSPECTED at most 5 %, p99 within 50 ms, "
        "NG at most 2 times that of before"
    )
    assert first.seen[0] == "verdicts: insufficient, 0 of 20 verdicts"
    assert (last.state, last.why) == ("pending", "it is in wave 2; wave 1 runs: 0 of 1 updated, 90 % needed")
