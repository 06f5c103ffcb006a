"""What ran before comes back, pipeline by pipeline, and is believed only when it has judged."""

from cloud_hub.updates.rollouts.plan import Action, RolloutState
from edge_protocol.codes import Verdict
from edge_protocol.updates import Step
from tests.cloud_hub.updates.rollouts.works import NAME, V1, V2, Release, Works


def test_revert_brings_back_what_ran(works: Works) -> None:
    """
    On failure each gateway that has the release is assigned the one of before, and that too is believed when judged.
    """
    fleet = [works.gateway(f"press-{i}") for i in (1, 2)]
    works.create(works.plan(waves=("1", "100%"), on_failure=Action.REVERT))
    works.look()
    works.run(fleet[:1], V2)
    works.look()

    works.say(fleet[1], V2, Step.RETURNED, "Unstable", "p99 of 90 ms")
    works.look()
    named = {name: works.assigned(name)["seal"].digest for name in ("press-1", "press-2")}
    reverting = works.states()
    works.run(fleet, V1)
    works.look()

    assert named == dict.fromkeys(named, V1.target.digest)
    assert set(reverting.values()) == {"reverting"}
    assert set(works.states().values()) == {"reverted"}
    assert works.rollout().state is RolloutState.FAILED


def test_what_cannot_be_given_back_keeps_what_it_runs(works: Works) -> None:
    """
    The release of before may be unsigned: an abort with revert says so and ends, instead of trying for ever.
    """
    press = works.gateway("press-1", runs=Release(NAME, "0.9.0", V1.signals))
    works.create(works.plan(waves=("100%",)))
    works.look()
    works.run([press], V2)

    works.order(1, "revert")
    works.look()
    works.look()

    assert works.states() == {"press-1": "excluded"}
    assert "0.9.0 is not in the catalogue" in works.rollout().members[0].reason
    assert works.rollout().state is RolloutState.STOPPED
    assert works.assigned("press-1")["seal"].digest == V2.target.digest


def test_one_pipeline_keeps_no_other_from_going_back(works: Works) -> None:
    """
    Where what ran before is not signed the pipeline keeps what it has; its neighbour on the gateway gets its own back.
    """
    unsigned = Release(NAME, "0.9.0", V1.signals)
    works.publish(unsigned, publisher="")
    press = works.gateway("press-1", "rim")
    works.floor.judge(press, "seal", unsigned, [Verdict.OK] * 50)
    works.floor.state(press)
    works.create(works.plan(waves=("100%",)))
    works.look()

    works.order(1, "revert")
    works.look()

    states = {each.pipeline: str(each.state) for each in works.rollout().members}
    assert states == {"rim": "reverting", "seal": "excluded"}
    named = {pipeline: each.version for pipeline, each in works.assigned("press-1").items()}
    assert named == {"rim": "1.0.0", "seal": "1.1.0"}
