import random
import threading
from pathlib import Path

import pytest

from tests.journeys.plant import Plant, a_plant


def prove(plant: Plant) -> None:
    """Produced = archived + buffered + declared, by the hub's books and a third party's, and each verdict once."""
    for name, gateway in plant.gateways.items():
        (account, third), recorded, archived = plant.account(name), gateway.verdicts(), plant.archived(name)
        assert (account["balanced"], account["lost"], account["doubled_verdicts"]) == (True, 0, 0), account
        assert account["produced"] == account["archived"] + account["buffered"] + account["declared"]
        assert (third.produced, third.lost, third.declared) == (account["produced"], 0, 0), (third, account)
        assert [n for n, _, _ in recorded] == list(range(1, gateway.triggers() + 1))
        # What the last moment of a stop could not send may still wait on the gateway; nothing else is missing.
        assert len(recorded) - len(archived) <= third.buffered
        assert set(archived) <= set(recorded)
        assert len(archived) == len(set(archived))


def test_a_cut_a_dead_gateway_and_a_dead_hub_lose_nothing(tmp_path: Path) -> None:
    """
    One gateway loses its network and goes on, the other is killed, the hub stands still while its broker takes batches
    and is then killed with it: when all are back everything arrives, once.
    """
    with a_plant(tmp_path, rate_hz=40) as plant:
        plant.judge(20)
        plant.cables["press-2"].cut()
        plant.kill("press-1")
        plant.judge(60)
        cut_off = len(plant.archived("press-2"))
        waiting = plant.gateways["press-2"].triggers() - cut_off
        plant.freeze_hub()
        plant.judge(60)
        plant.kill_hub()
        plant.come_to_rest()

        assert waiting > 40
        assert len(plant.archived("press-2")) > cut_off
        prove(plant)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_happens_when_nothing_is_lost(tmp_path: Path, seed: int) -> None:
    """Cuts and kills at random moments, again and again: the account balances in the end."""
    rng = random.Random(seed)  # noqa: S311 (a nemesis, no secret)

    with a_plant(tmp_path, rate_hz=60) as plant:
        blows = {
            "cut press-1": plant.cables["press-1"].cut,
            "cut press-2": plant.cables["press-2"].cut,
            "mend press-1": plant.cables["press-1"].mend,
            "mend press-2": plant.cables["press-2"].mend,
            "kill press-1": lambda: plant.kill("press-1"),
            "kill press-2": lambda: plant.kill("press-2"),
            "kill hub": plant.kill_hub,
        }
        for _ in range(12):
            # Which moment it is nobody decides: that it is any is the test.
            threading.Event().wait(rng.uniform(0.1, 2.5))
            blows[rng.choice(sorted(blows))]()
        plant.come_to_rest()

        prove(plant)
