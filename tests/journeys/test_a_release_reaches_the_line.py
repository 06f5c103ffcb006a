import random
import threading
from functools import partial
from pathlib import Path

import pytest

from tests.edge_agent.updates.releases import good, other_normalisation, placed_digest, release
from tests.gateways import until
from tests.journeys.plant import Plant, a_plant
from tests.journeys.test_nothing_lost import prove

ENDED = ("finished", "failed", "stopped")


def digests(plant: Plant, name: str) -> list[str]:
    """What judged the parts of a gateway, in order, each only once in a row."""
    rows = plant.gateways[name].query("SELECT digest FROM verdict WHERE digest <> '' ORDER BY epoch, trigger")
    found = [row["digest"] for row in rows]
    return [each for n, each in enumerate(found) if n == 0 or each != found[n - 1]]


def states(plant: Plant, number: int) -> list[str]:
    """The states of a rollout's members, wave by wave."""
    return [member["state"] for wave in plant.rollout(number)["waves"] for member in wave["members"]]


def has_ended(plant: Plant, number: int) -> bool:
    """Whether nothing more will come of a rollout; what has died by itself is seen at once."""
    plant.judge(1)
    return plant.rollout(number)["line"]["state"] in ENDED


def test_a_release_is_updated_where_signed_verdicts_say_so_and_a_bad_one_nowhere(tmp_path: Path) -> None:
    """
    From the publisher's key to the line: a good release judges on both gateways, a bad one is refused by the first and
    never offered to the second, and no trigger is lost or doubled on the way.
    """
    better, bad = good("1.1.0"), release("1.2.0", break_it=other_normalisation)

    with a_plant(tmp_path, rate_hz=40) as plant:
        for each in (better, bad):
            plant.publish(each)
        first = plant.roll_out("1.1.0")
        until("the good release", partial(has_ended, plant, first), 90, every_s=0.2)
        second = plant.roll_out("1.2.0")
        until("the bad release", partial(has_ended, plant, second), 90, every_s=0.2)
        plant.come_to_rest()

        assert (states(plant, first), states(plant, second)) == (["updated", "updated"], ["failed", "pending"])
        for name, gateway in plant.gateways.items():
            assert digests(plant, name) == [placed_digest(gateway), better.digest]
        prove(plant)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_kills_of_hub_and_gateways_only_delay_a_rollout(tmp_path: Path, seed: int) -> None:
    """
    Kill −9 of hub and gateways at random moments of a rollout: what judges is always the placed model or the release
    that both repositories name, the rollout ends as updated everywhere, and the account balances.
    """
    rng = random.Random(seed)  # noqa: S311 (a nemesis, no secret)
    better = good("1.1.0")

    with a_plant(tmp_path, rate_hz=40) as plant:
        plant.publish(better)
        number = plant.roll_out("1.1.0")
        blows = [partial(plant.kill, "press-1"), partial(plant.kill, "press-2"), plant.kill_hub]
        for _ in range(10):
            # Which moment it is nobody decides: that it is any is the test.
            threading.Event().wait(rng.uniform(0.1, 2.0))
            rng.choice(blows)()
        until("the end of the rollout", partial(has_ended, plant, number), 180, every_s=0.5)
        plant.come_to_rest()

        assert states(plant, number) == ["updated", "updated"]
        for name, gateway in plant.gateways.items():
            assert digests(plant, name) == [placed_digest(gateway), better.digest]
        prove(plant)
