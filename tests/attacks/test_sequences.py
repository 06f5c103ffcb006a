"""Any order of sets, old and new, with restarts and lost files between them: a gateway only ever goes forward."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.updates import trust
from edge_protocol.agreement import Wanted
from edge_protocol.updates import Refusal, UpdateRefused
from tests.attacks.gateway import gateway_of
from tests.attacks.repositories import House, new_key

STEPS = 5


def history() -> tuple[House, list[dict[str, dict[str, bytes]]]]:
    """A house, and its sets as they were after each of its decisions: releases, floors, rotated keys."""
    house = House()
    sets = [{"models": house.models.files(), "director": house.director.files()}]
    for n in range(1, STEPS):
        house.publisher.release(f"1.{n}.0", floor=f"1.{n - 1}.0")
        if n == 3:
            fresh = new_key()
            house.models.rotate(snapshot=[fresh], timestamp=[fresh])
            house.director.rotate(snapshot=[fresh], timestamp=[fresh], targets=[fresh])
        house.models.bump("targets", "pub-acme")
        house.name(f"1.{n}.0")
        house.director.bump("targets")
        sets.append({"models": house.models.files(), "director": house.director.files()})
    return house, sets


HOUSE, SETS = history()

offers = st.tuples(st.sampled_from(trust.REPOSITORIES), st.integers(0, STEPS - 1))
events = st.lists(offers | st.sampled_from(["restart", "lose models", "lose director"]), max_size=14)


@settings(max_examples=40, deadline=None)
@given(events)
def test_a_gateway_only_goes_forward(happened: list[tuple[str, int] | str]):
    """
    A set is taken when no later one was seen, else it is stale or of keys that were taken away; what is wanted is what
    the last sets say together; a lost file forgets what is wanted and never what was seen.
    """
    folder = Path(tempfile.mkdtemp())
    seen, held = {"models": -1, "director": -1}, {"models": -1, "director": -1}
    try:
        with gateway_of(folder, HOUSE) as gateway:
            for event in happened:
                if isinstance(event, tuple):
                    name, n = event
                    refusal = _refusal(gateway.trust, name, n)
                    assert refusal in ((None,) if n >= seen[name] else (Refusal.STALE, Refusal.NOT_TRUSTED))
                    if refusal is None:
                        seen[name] = held[name] = n
                    continue
                if event.startswith("lose"):
                    name = event.removeprefix("lose ")
                    trust.set_file(gateway.folder, name).unlink(missing_ok=True)
                    held[name] = -1
                gateway.start()
                assert gateway.trust.wanted().keys() == ({"a"} if min(held.values()) >= 0 else set())
            _check(gateway.trust, seen["models"], held)
    finally:
        shutil.rmtree(folder)


def _refusal(found: trust.Trust, repository: str, n: int) -> Refusal | None:
    try:
        found.take(repository, SETS[n][repository])
    except UpdateRefused as refused:
        return refused.refusal
    return None


def _check(found: trust.Trust, highest: int, held: dict[str, int]) -> None:
    assert found.floor("surface") == (f"1.{highest - 1}.0" if highest > 0 else "")
    if min(held.values()) < 0:
        assert found.wanted() == {}
        return
    ruling, named = found.wanted()["a"], held["director"]
    if named > held["models"]:
        assert isinstance(ruling, UpdateRefused)
        assert ruling.refusal is Refusal.STALE
    elif named < highest - 1:
        assert isinstance(ruling, UpdateRefused)
        assert ruling.refusal is Refusal.BELOW_FLOOR
    else:
        assert isinstance(ruling, Wanted)
        assert ruling.version == f"1.{named}.0"
