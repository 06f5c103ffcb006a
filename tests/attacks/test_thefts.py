"""What a thief of a rightful key can do, or a clock that lies: choose among what is published, or stop updates."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from edge_protocol.updates import Refusal, UpdateRefused
from tests.attacks.gateway import gateway_of
from tests.attacks.repositories import DAY, DAY_US, NOW, House, Publisher, delegations, new_key, target
from tests.attacks.scene import Scene

PAST = NOW - DAY


@dataclass(frozen=True)
class Theft:
    """What the thief of the hub's online key, or another publisher, can sign; what the gateway makes of it."""

    name: str
    expect: str
    do: Callable[[House], None]


def names(version: str, **custom: object) -> Callable[[House], None]:
    """The thief lets the director name a release."""

    def do(house: House) -> None:
        house.name(version, **custom)

    return do


def other_bytes(house: House) -> None:
    """The thief names a published version with the digest of his own manifest."""
    house.name("1.1.0", manifest=b'{"thief": true}')


def foreign_release(house: House) -> None:
    """A publisher of other names signs a release of this one."""
    house.models.publishers["pub-beta"] = Publisher([new_key()], paths=("vibration/*/manifest.json",))
    house.models.publishers["pub-beta"].release("6.6.6")
    house.name("6.6.6")


def foreign_floor(house: House) -> None:
    """A publisher of other names states a floor of this one."""
    house.models.publishers["pub-beta"] = Publisher([new_key()], paths=("vibration/*/manifest.json",))
    house.models.publishers["pub-beta"].release("6.6.6", floor="6.6.6")


def twice_delegated(house: House) -> None:
    """A publisher that comes later in the order signs a path that an earlier one may sign and did not."""
    house.models.publishers["pub-beta"] = Publisher([new_key()])
    house.models.publishers["pub-beta"].release("6.6.6")
    house.name("6.6.6")


def revoked(house: House) -> None:
    """The publisher is not delegated to any more; its part is still in the snapshot, which loses nothing."""
    house.models.revoked.add("pub-acme")


def unheard(house: House) -> None:
    """A publisher that may sign the same names, and has not signed anything yet, comes first."""
    acme = house.models.publishers.pop("pub-acme")
    house.models.publishers |= {"pub-beta": Publisher([new_key()], terminating=False), "pub-acme": acme}
    house.models.unlisted.add("pub-beta")


def by_delegate(house: House) -> None:
    """A publisher's delegate signs outside of what the publisher itself may sign; cycles end."""
    thief = Publisher([new_key()], paths=("*/*/manifest.json",))
    house.publisher.delegations = delegations({"pub-thief": thief, "pub-acme": house.publisher})
    house.name("6.6.6")


def lower_floor(house: House) -> None:
    """The publisher itself takes its floor back, after 1.1.0 became the floor."""
    for version in ("1.0.0", "1.1.0"):
        house.publisher.release(version, floor="0.5.0")
    house.name("1.0.0")


def directors_floor(house: House) -> None:
    """The director states a floor, which is not its to say."""
    house.name("1.1.0", floor="6.6.6")


def publisher_expires(house: House) -> None:
    """The publisher has not signed for half a year."""
    house.models.expires["pub-acme"] = PAST


def behind_an_expired_one(house: House) -> None:
    """A publisher signs a release of names that an earlier one may sign too, whose part has expired."""
    house.publisher.terminating = False
    house.models.expires["pub-acme"] = PAST
    house.models.publishers["pub-beta"] = Publisher([new_key()])
    house.models.publishers["pub-beta"].release("6.6.6")
    house.name("6.6.6")


THEFTS = [
    Theft("an unpublished release", "NotAgreed", names("6.6.6")),
    Theft("another manifest", "NotAgreed", other_bytes),
    Theft("a release below the floor", "BelowFloor", names("1.0.0")),
    Theft("a floor that is taken back", "BelowFloor", lower_floor),
    Theft("a floor of the director", "1.1.0", directors_floor),
    Theft("a release for another gateway", "NotAddressed", names("1.1.0", gateway="press-2")),
    Theft("a set from the future", "Stale", names("6.6.6", models=2**40)),
    Theft("another publisher's release", "NotAgreed", foreign_release),
    Theft("another publisher's floor", "1.1.0", foreign_floor),
    Theft("a delegate's release", "NotAgreed", by_delegate),
    Theft("a release of who comes second", "NotAgreed", twice_delegated),
    Theft("a revoked publisher", "NotAgreed", revoked),
    Theft("a publisher that was never heard", "1.1.0", unheard),
    Theft("an expired publisher", "Expired", publisher_expires),
    Theft("a release behind an expired publisher", "Expired", behind_an_expired_one),
    Theft("a published release", "1.1.0", names("1.1.0")),
]


@pytest.mark.parametrize("theft", THEFTS, ids=lambda theft: theft.name)
def test_what_a_thief_can_choose(scene: Scene, theft: Theft):
    """
    Rightly signed sets are taken; what runs is only ever what a publisher of that name has signed and not forbidden.
    """
    house = scene.house
    house.publisher.release("1.1.0", floor="1.1.0")
    house.models.bump("pub-acme")
    scene.gateway.take_all()

    theft.do(house)
    house.models.bump("targets", *house.models.publishers)
    house.director.bump("targets")
    scene.gateway.take_all()

    assert scene.gateway.runs() == theft.expect
    scene.gateway.start()
    assert scene.gateway.runs() == theft.expect


def test_an_expired_publisher_silences_only_itself(scene: Scene):
    """
    Releases of other publishers go on while one has not signed in time.
    """
    house = scene.house
    house.models.expires["pub-acme"] = PAST
    house.models.publishers["pub-beta"] = Publisher([new_key()], paths=("vibration/*/manifest.json",))
    path = house.models.publishers["pub-beta"].release("1.0.0", name="vibration")
    house.models.bump("targets", "pub-acme")
    custom = {"gateway": "press-1", "pipelines": ["b"]}
    house.director.targets[path] = target(path, b'{"name": "surface", "version": "1.0.0"}', custom)
    house.director.bump("targets")

    scene.gateway.take_all()

    assert [scene.gateway.runs(pipeline) for pipeline in ("a", "b")] == ["Expired", "1.0.0"]


@pytest.mark.parametrize("days", [8, 31, 400, 40_000, 3_000_000])
def test_a_clock_that_lies_forward_stops_updates_and_nothing_else(scene: Scene, days: int):
    """
    Everything looks expired: nothing is taken, what runs is still wanted, and the right time mends it all.
    """
    before = scene.gateway.kept()
    scene.gateway.clock.step(days * DAY_US)
    scene.gateway.clock.time()
    for name, files in scene.now.items():
        with pytest.raises(UpdateRefused) as caught:
            scene.gateway.trust.take(name, files)
        assert caught.value.refusal is Refusal.EXPIRED
    scene.gateway.start()
    assert scene.gateway.kept() == before


def test_a_clock_that_lies_back_does_not_revive_what_has_expired(scene: Scene):
    """
    A dead clock says 2001: the latest time that has surely passed decides.
    """
    house = scene.house
    house.models.bump()
    scene.gateway.clock.raise_floor(scene.gateway.clock.wall_us() + 8 * DAY_US)
    scene.gateway.clock.step(-25 * 365 * DAY_US)
    scene.gateway.clock.time()

    with pytest.raises(UpdateRefused) as caught:
        scene.gateway.trust.take("models", house.models.files())

    assert caught.value.refusal is Refusal.EXPIRED


def test_a_set_that_stays_the_same_is_refused_when_it_expires(scene: Scene):
    """
    A frozen hub, or somebody who plays its last set for ever, is noticed; what runs goes on running.
    """
    frozen = scene.now
    scene.gateway.take_all()
    scene.gateway.clock.advance(8 * DAY_US)

    with pytest.raises(UpdateRefused) as caught:
        scene.gateway.trust.take("director", frozen["director"])

    assert caught.value.refusal is Refusal.EXPIRED
    assert scene.gateway.runs() == "1.1.0"


def test_a_stolen_online_key_is_rotated_away(scene: Scene):
    """
    A thief pushes the versions to the sky. A root by the offline keys ends it: the thief's key is worth nothing, the
    hub's new key begins anew, and what the thief has kept cannot be played back.
    """
    house = scene.house
    for owner in (house.models, house.director):
        owner.versions |= {"timestamp": 2**31, "snapshot": 2**31}
    scene.gateway.take_all()
    stolen = scene.now
    fresh = new_key()
    house.models.rotate(timestamp=[fresh], snapshot=[fresh])
    house.director.rotate(timestamp=[fresh], snapshot=[fresh], targets=[fresh])
    for owner in (house.models, house.director):
        owner.versions |= {"timestamp": 4, "snapshot": 4}
    house.director.versions["targets"] = 1

    scene.gateway.take_all()

    assert scene.gateway.runs() == "1.1.0"
    for name, files in stolen.items():
        with pytest.raises(UpdateRefused) as caught:
            scene.gateway.trust.take(name, {**files, **getattr(house, name).roots})
        assert caught.value.refusal is Refusal.NOT_TRUSTED
        with pytest.raises(UpdateRefused) as caught:
            scene.gateway.trust.take(name, files)
        assert caught.value.refusal is Refusal.NOT_TRUSTED
    scene.gateway.start()
    assert scene.gateway.runs() == "1.1.0"


def test_root_keys_are_rotated_one_after_the_other(scene: Scene):
    """
    A gateway that slept through many rotations follows the chain; a root that skips one is none.
    """
    models = scene.house.models
    for n in range(3):
        models.rotate(root=[*models.keys["root"][1:], new_key()])
        models.bump()
        assert models.versions["root"] == n + 2
    hole = {name: data for name, data in models.files().items() if name != "3.root.json"}

    scene.gateway.trust.take("models", models.files())

    assert scene.gateway.runs() == "1.1.0"
    skipped = {**hole, "3.root.json": hole["4.root.json"]}
    with gateway_of(scene.gateway.folder.parent / "other", scene.house) as late:
        with pytest.raises(UpdateRefused) as caught:
            late.trust.take("models", skipped)
        assert caught.value.refusal in (Refusal.STALE, Refusal.NOT_TRUSTED)
