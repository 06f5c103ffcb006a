"""Three rollouts to look at: one that finished, one that a canary stopped, one that runs."""

from typing import Any

from cloud_hub.updates.rollouts.plan import Action, Gates, Selection
from edge_protocol.updates import Step
from tests.cloud_hub.updates.rollouts.works import NAME, V1, V2, V3, Release, Works

V4 = Release(NAME, "1.4.0", V1.signals, lineage="1.1.0")
LINE: dict[str, Any] = {"enterprise": "Acme Metals", "site": "Werk West", "area": "Hall 4", "line": "Stamping"}


def three_rollouts(works: Works) -> None:
    """1.1.0 to all, 1.2.0 stopped by its self-test, 1.4.0 in its second wave; 1.3.0 is there and not signed."""
    works.publish(V1, V2, V3, V4)
    works.publish(Release(NAME, "1.3.0", V1.signals), publisher="")
    fleet = [works.gateway(f"stamp-{i}", **LINE) for i in range(1, 6)]
    works.floor.enrol("stamp-6", **LINE)
    there = Selection(lines=("Stamping",))
    works.create(works.plan(V2, waves=("1", "100%"), selection=there))
    works.look()
    works.run(fleet[:1], V2, 120, ng=1)
    works.look()
    works.run(fleet[1:], V2, 120, ng=1)
    works.look()
    works.create(works.plan(V3, waves=("1", "100%"), selection=there, on_failure=Action.STOP))
    works.look()
    works.say(fleet[0], V3, Step.REFUSED, "SelfTestFailed", "normalise differs first: 0.71, the golden has 0.12")
    works.look()
    works.create(works.plan(V4, waves=("1", "2", "100%"), selection=there, gates=Gates(ng_factor=3.0)))
    works.look()
    works.run(fleet[:1], V4, 60)
    works.look()
    works.run(fleet[1:2], V4, 10)
    works.say(fleet[2], V4, Step.STAGED)
    works.look()
