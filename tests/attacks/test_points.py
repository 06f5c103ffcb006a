"""Whoever changes a threshold changes what is let through: an operating point has to be agreed on as a release has."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from edge_agent.updates.trust import set_file
from edge_protocol import points
from edge_protocol.points import WantedPoint
from tests.attacks.repositories import House, Publisher, new_key, target
from tests.attacks.scene import Scene

PATH = points.path_of("surface", "line-3", "1.0.0")
FILE = b'{"operating_point": {"accept": 1.0, "reject": 2.0}}'
BOTH = ("surface/*/manifest.json", "surface/operating-points/*/*.json")


def publish(publisher: Publisher, path: str = PATH, data: bytes = FILE, **custom: object) -> None:
    """A publisher signs an operating point."""
    publisher.targets[path] = target(path, data, {"kind": points.KIND, **custom})


def direct(house: House, path: str = PATH, data: bytes = FILE, **custom: object) -> None:
    """The director names an operating point beside what it names already."""
    said = {"gateway": "press-1", "pipelines": ["a"], "kind": points.KIND, "models": 0}
    house.director.targets[path] = target(path, data, {**said, **custom})


def honest(house: House) -> None:
    """Both say the same."""
    publish(house.publisher)
    direct(house)


def unsigned(house: House) -> None:
    """The thief of the hub's key names what no publisher has signed."""
    direct(house)


def other_bytes(house: House) -> None:
    """The thief names a published path with thresholds of his own."""
    publish(house.publisher)
    direct(house, data=FILE.replace(b"1.0", b"9.0").replace(b"2.0", b"9.0"))


def unnamed(house: House) -> None:
    """A publisher alone changes no gateway."""
    publish(house.publisher)


def wrong_publisher(house: House) -> None:
    """A publisher of other names signs one of this bundle."""
    paths = ("vibration/*/manifest.json", "vibration/operating-points/*/*.json")
    house.models.publishers["pub-beta"] = Publisher([new_key()], paths=paths)
    publish(house.models.publishers["pub-beta"])
    direct(house)


def releases_only(house: House) -> None:
    """A publisher that may sign releases and nothing else signs one."""
    house.publisher.paths = BOTH[:1]
    honest(house)


def revoked(house: House) -> None:
    """The publisher is not delegated to any more."""
    honest(house)
    house.models.revoked.add("pub-acme")


def for_another_gateway(house: House) -> None:
    """What was signed for another gateway is sent to this one."""
    publish(house.publisher)
    direct(house, gateway="press-2")


def as_a_release(house: House) -> None:
    """A publisher signed the file as something else."""
    publish(house.publisher, kind="bundle")
    direct(house)


def at_a_release(house: House) -> None:
    """A release's manifest is named as if it were one."""
    path = "surface/1.1.0/manifest.json"
    house.director.targets[path].unrecognized_fields["custom"]["kind"] = points.KIND


def two(house: House) -> None:
    """Two are named for one pipeline."""
    honest(house)
    path = points.path_of("surface", "line-4", "1.0.0")
    publish(house.publisher, path)
    direct(house, path)


def from_the_future(house: House) -> None:
    """The director knows a set of the publishers that this gateway has not seen."""
    direct(house, models=2**40)


def too_large(house: House) -> None:
    """A file that fills the disk."""
    data = FILE + b" " * points.MAX_POINT_BYTES
    publish(house.publisher, data=data)
    direct(house, data=data)


def not_understood(house: House) -> None:
    """The director says something that is no direction."""
    publish(house.publisher)
    direct(house, pipelines=3)


@dataclass(frozen=True)
class Attack:
    """Who signs what, and what the gateway makes of it: the name of a refusal, the point's own, or nothing."""

    expect: str
    do: Callable[[House], None]


ATTACKS = [
    Attack("line-3", honest),
    Attack("", unnamed),
    Attack("NotAgreed", unsigned),
    Attack("NotAgreed", other_bytes),
    Attack("NotAgreed", wrong_publisher),
    Attack("NotAgreed", releases_only),
    Attack("NotAgreed", revoked),
    Attack("NotAddressed", for_another_gateway),
    Attack("Incompatible", as_a_release),
    Attack("Incompatible", at_a_release),
    Attack("Incompatible", two),
    Attack("Stale", from_the_future),
    Attack("TooLarge", too_large),
    Attack("Incompatible", not_understood),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.do.__name__)
def test_who_can_change_a_threshold(scene: Scene, attack: Attack) -> None:
    """Only who may sign the bundle, together with the director; and no release is touched by it."""
    scene.house.publisher.paths = BOTH
    attack.do(scene.house)
    scene.house.models.bump("targets", *scene.house.models.publishers)
    scene.house.director.bump("targets")
    scene.gateway.take_all()

    for _ in range(2):
        said = (scene.gateway.trust.points() or {}).get("a")
        found = said.name if isinstance(said, WantedPoint) else said.refusal.value if said is not None else ""
        assert found == attack.expect
        scene.gateway.start()
    if attack.do not in {revoked, at_a_release}:
        assert scene.gateway.runs() == "1.1.0"


@pytest.mark.parametrize("repository", ["models", "director"])
def test_a_lost_word_takes_no_threshold_away(scene: Scene, repository: str) -> None:
    """Whoever deletes or damages a kept set makes the gateway know nothing, which is not that nothing is named."""
    scene.house.publisher.paths = BOTH
    honest(scene.house)
    scene.house.models.bump("targets", *scene.house.models.publishers)
    scene.house.director.bump("targets")
    scene.gateway.take_all()
    assert scene.gateway.trust.points()

    set_file(scene.gateway.folder, repository).write_bytes(b"noise")
    scene.gateway.start()

    assert scene.gateway.trust.points() is None
