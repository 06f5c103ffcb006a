import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edge_protocol.codes import Verdict
from tests.edge_agent.updates.releases import good
from tests.gateways import until
from tests.journeys.plant import Plant, a_plant
from tests.journeys.test_a_release_reaches_the_line import ENDED
from tests.journeys.test_nothing_lost import prove

STRICT = {"accept": 0.0, "reject": 0.0}
"""By this every part that is inspected is NG."""


def say(plant: Plant, *arguments: str) -> Any:
    """A verb of operating points."""
    return plant.hub_says("operating-point", *arguments, "--hub", str(plant.folder))


def judges_by(plant: Plant, name: str) -> str:
    """The digest of the operating point that stands with a gateway's latest verdict, hex; empty: its bundle's own."""
    sql = "SELECT lower(hex(c.operating_point)) AS point FROM verdicts v JOIN contexts c ON c.id = v.context"
    rows = plant.gateways[name].query(f"{sql} ORDER BY v.id DESC LIMIT 1")
    return str(rows[0]["point"]) if rows else ""


def is_updated(plant: Plant, number: int) -> bool:
    """Whether a rollout has ended."""
    return plant.rollout(number)["line"]["state"] in ENDED


@pytest.mark.slow
def test_a_threshold_reaches_the_pipelines_it_is_for_and_goes_again(tmp_path: Path) -> None:
    """
    From the publisher's key to the line: one gateway judges by another threshold, through a kill, until it is taken
    back; the other never does. The hub has both digests with every verdict, and no trigger is lost or doubled.
    """
    made = good("1.1.0")
    with a_plant(tmp_path, rate_hz=20) as plant:
        plant.publish(made)
        number = plant.roll_out("1.1.0")
        until("the release", partial(is_updated, plant, number), 90, every_s=0.3)
        file = plant.publisher / "strict.json"
        file.write_text(json.dumps(STRICT))
        key = str(plant.publisher / "key.pem")
        published = say(plant, "publish", "small-window", "1.1.0", "line-3", "1.0.0", "--file", str(file), "--key", key)
        meant = say(plant, "assign", "small-window", "line-3", "1.0.0", "--gateway", "press-1", "--reason", "strict")
        assert meant == [{"gateway": "press-1", "pipeline": "engine"}]
        until("the threshold", lambda: judges_by(plant, "press-1") == published["sha256"], 60)
        until("the gateway's word", lambda: say(plant, "show")["assigned"][0]["judges_by"] == published["sha256"], 30)
        plant.kill("press-1")
        plant.judge(20)
        assert judges_by(plant, "press-1") == published["sha256"]

        say(plant, "clear", "--gateway", "press-1")
        until("the bundle's own", lambda: judges_by(plant, "press-1") == "", 60)
        plant.judge(20)
        plant.come_to_rest()

        sql = (
            "SELECT DISTINCT v.verdict AS verdict FROM verdicts v JOIN contexts c ON c.id = v.context"
            " WHERE length(c.operating_point) > 0 AND v.verdict <> 3"
        )
        assert [row["verdict"] for row in plant.gateways["press-1"].query(sql)] == [Verdict.NG]
        assert plant.gateways["press-2"].query("SELECT * FROM contexts WHERE length(operating_point) > 0") == []
        prove(plant)
