"""Who comes later, and who is taken over: the waves and the evidence hold for them too."""

from cloud_hub.updates.rollouts.plan import Selection
from tests.cloud_hub.updates.rollouts.works import V2, V3, Works


def test_late_joiners_obey_the_waves(works: Works) -> None:
    """
    A gateway that fits the selection later joins the last wave and is assigned no earlier than that.
    """
    fleet = [works.gateway(f"press-{i}", site="berlin") for i in (1, 2)]
    works.create(works.plan(waves=("1", "100%"), selection=Selection(sites=("berlin",))))
    works.look()

    works.gateway("press-0", site="berlin")
    works.gateway("oven-1", site="essen")
    works.look(61)
    joined = works.states(), works.assigned("press-0")
    works.run(fleet[:1], V2)
    works.look()

    assert joined == ({"press-0": "pending", "press-1": "assigned", "press-2": "pending"}, {})
    assert works.states() == {"press-0": "assigned", "press-1": "updated", "press-2": "assigned"}


def test_a_stand_in_that_joins_waits_for_a_wave_of_its_own(works: Works) -> None:
    """
    A late joiner that stands in for a gateway of the last wave comes after it.
    """
    works.gateway("press-1", line="a", labels={"redundant": "x"})
    works.create(works.plan(waves=("100%",)))
    works.look()

    works.gateway("press-2", line="a", labels={"redundant": "x"})
    works.look(61)

    assert [(each.gateway, each.wave) for each in works.rollout().members] == [("press-1", 0), ("press-2", 1)]
    assert works.assigned("press-2") == {}


def test_another_rollout_takes_over_what_was_never_proved(works: Works) -> None:
    """
    A member that another rollout has been given since is not measured against the first one's release any more.
    """
    press = works.gateway("press-1")
    works.create(works.plan(waves=("100%",)))
    works.look()
    works.order(1, "abort")
    works.create(works.plan(V3, waves=("100%",)))
    works.look()

    works.run([press], V2)
    works.look()

    assert works.states(1) == {"press-1": "unknown"}
    assert "rollout 2 took over" in works.rollout(1).members[0].reason
