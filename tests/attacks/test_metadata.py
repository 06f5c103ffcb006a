"""Attacks on the metadata, with real keys: each is refused under its own name, and nothing has changed after it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_protocol.updates import Refusal, UpdateRefused
from tests.attacks.gateway import gateway_of
from tests.attacks.repositories import DAY, NOW, House, Publisher, new_key
from tests.attacks.scene import Scene

PAST = NOW - DAY


Files = dict[str, bytes]
Make = Callable[[Scene], Files]


@dataclass(frozen=True)
class Attack:
    """A set that somebody offers to the gateway for a repository, and the name under which it is refused."""

    name: str
    repository: str
    expect: Refusal
    make: Make


def mixed(repository: str, *roles: str) -> Make:
    """The current set with these roles' files as they were at first, under the names that are asked for."""

    def make(scene: Scene) -> Files:
        files = dict(scene.now[repository])
        old = {name.rpartition(".json")[0].split(".")[-1]: data for name, data in scene.old[repository].items()}
        return {name: old[role] if (role := name.split(".")[-2]) in roles else data for name, data in files.items()}

    return make


def without(repository: str, role: str) -> Make:
    """A new set without the files of a role."""

    def make(scene: Scene) -> Files:
        owner = getattr(scene.house, repository)
        owner.bump("targets", *owner.publishers)
        return {name: data for name, data in owner.files().items() if role not in name.split(".")}

    return make


def lower(repository: str, role: str) -> Make:
    """The thief of the online key signs a new timestamp and snapshot over an older file of `role`."""

    def make(scene: Scene) -> Files:
        owner = getattr(scene.house, repository)
        owner.bump()
        if role in owner.publishers:
            owner.publishers[role].version = 1
        else:
            owner.versions[role] = 1
        if role == "snapshot":
            owner.versions["timestamp"] += 1
        return owner.files()

    return make


def by_stranger(repository: str, role: str) -> Make:
    """A set whose `role` is signed by a key that nobody has delegated to."""

    def make(scene: Scene) -> Files:
        owner = getattr(scene.house, repository)
        owner.bump("targets", *owner.publishers)
        if role in owner.publishers:
            owner.publishers[role].signed_by = [new_key()]
        else:
            owner.signed_by[role] = [new_key()]
        return owner.files()

    return make


def expired(repository: str, role: str) -> Make:
    """A newer set of which one role has expired, rightly signed."""

    def make(scene: Scene) -> Files:
        owner = getattr(scene.house, repository)
        owner.expires[role] = PAST
        owner.bump("targets")
        if role == "root":
            owner.rotate()
        return owner.files()

    return make


def changed(repository: str, role: str, change: Callable[[bytes], bytes]) -> Make:
    """A newer set in which the files of a role are changed on the way."""

    def make(scene: Scene) -> Files:
        owner = getattr(scene.house, repository)
        owner.bump("targets", *owner.publishers)
        return {n: change(data) if role in n.split(".") else data for n, data in owner.files().items()}

    return make


def hashed_mixture(scene: Scene) -> Files:
    """A snapshot that states digests, and a publisher's file of the right version with other bytes."""
    scene.house.models.hashed = True
    scene.house.models.bump("pub-acme")
    first = scene.house.models.files()
    scene.house.publisher.release("6.6.6")
    second = scene.house.models.files()
    name = f"{scene.house.publisher.version}.pub-acme.json"
    return {**first, name: second[name]}


def one_signature(scene: Scene) -> Files:
    """A root that only one of two needed keys has signed."""
    models = scene.house.models
    models.keys["root"], keys = models.keys["root"][:1], models.keys["root"]
    models.rotate(targets=[new_key()])
    models.keys["root"] = keys
    models.bump()
    return models.files()


def one_of_two_publishers_keys(scene: Scene) -> Files:
    """A publisher for whom two must sign, and one did."""
    publisher = scene.house.publisher
    publisher.keys.append(new_key())
    publisher.threshold = 2
    publisher.signed_by = publisher.keys[:1]
    scene.house.models.bump("targets", "pub-acme")
    return scene.house.models.files()


def one_key_twice(scene: Scene) -> Files:
    """The same signature given twice is one."""
    files = one_of_two_publishers_keys(scene)
    name = f"{scene.house.publisher.version}.pub-acme.json"
    part = json.loads(files[name])
    part["signatures"] *= 2
    return {**files, name: json.dumps(part).encode()}


def another_gateways(scene: Scene) -> Files:
    """The whole set of press-2's director, by the same keys and of higher versions."""
    other = scene.house.director_of("press-2")
    for _ in range(9):
        other.bump("targets")
    return other.files()


def another_gateways_timestamp(scene: Scene) -> Files:
    """The director's own files under the timestamp and snapshot of another gateway."""
    other = scene.house.director_of("press-2")
    for _ in range(9):
        other.bump()
    other.versions["targets"] = scene.house.director.versions["targets"]
    targets = {name: data for name, data in scene.now["director"].items() if "targets" in name}
    return {**other.files(), **targets}


def directors_root(scene: Scene) -> Files:
    """The thief of the online key plays the director's second root as the publishers' and signs `targets` himself."""
    house = scene.house
    house.director.rotate()
    mine = house.director_of("press-1")
    mine.mark = "models"
    mine.roots = {**house.models.roots, "2.root.json": house.director.roots["2.root.json"]}
    mine.publishers["pub-thief"] = Publisher([house.online])
    mine.publishers["pub-thief"].release("6.6.6")
    for _ in range(9):
        mine.bump("targets")
    return mine.files()


def other_publishers_file(scene: Scene) -> Files:
    """What pub-beta has signed, under the name of pub-acme."""
    models = scene.house.models
    models.publishers["pub-beta"] = Publisher([new_key()], paths=("vibration/*/manifest.json",))
    models.bump("targets", "pub-acme")
    models.publishers["pub-beta"].version = scene.house.publisher.version
    models.publishers["pub-beta"].release("6.6.6")
    files = models.files()
    version = scene.house.publisher.version
    return {**files, f"{version}.pub-acme.json": files[f"{version}.pub-beta.json"]}


def no_more_publisher(scene: Scene) -> Files:
    """A snapshot that hides a publisher who is still delegated to."""
    scene.house.models.bump()
    scene.house.models.unlisted.add("pub-acme")
    return scene.house.models.files()


def delegating_director(scene: Scene) -> Files:
    """A director that lets somebody else speak for it."""
    director = scene.house.director
    director.publishers["pub-thief"] = Publisher([new_key()])
    director.bump("targets")
    return director.files()


def many_publishers(scene: Scene) -> Files:
    """More delegations than anybody has publishers."""
    models = scene.house.models
    key = new_key()
    models.publishers |= {f"pub-{n}": Publisher([key], paths=(f"{n}/*/*",)) for n in range(64)}
    models.bump("targets")
    return models.files()


def padded(size: int) -> Callable[[bytes], bytes]:
    """The same JSON with so much white space before it."""
    return lambda data: b" " * size + data


ROLES = [("models", role) for role in ("timestamp", "snapshot", "targets", "pub-acme")] + [
    ("director", role) for role in ("timestamp", "snapshot", "targets")
]
NESTED = b'{"signed":' + b"[" * 100_000
ATTACKS = [
    *(Attack(f"old set of {name}", name, Refusal.STALE, lambda s, n=name: s.old[n]) for name in ("models", "director")),
    *(Attack(f"old timestamp of {name}", name, Refusal.STALE, mixed(name, "timestamp"))
      for name in ("models", "director")),
    *(Attack(f"lower {role} of {name}", name, Refusal.STALE, lower(name, role)) for name, role in ROLES),
    *(Attack(f"{role} of {name} by a stranger", name, Refusal.NOT_TRUSTED, by_stranger(name, role))
      for name, role in ROLES),
    *(Attack(f"expired {role} of {name}", name, Refusal.EXPIRED, expired(name, role)) for name, role in
      [*(r for r in ROLES if r[1] != "pub-acme"), ("models", "root"), ("director", "root")]),
    *(Attack(f"no {role} of {name}", name, Refusal.STALE, without(name, role)) for name, role in ROLES),
    *(Attack(f"garbage for {role} of {name}", name, Refusal.TAMPERED, changed(name, role, lambda _: b"{"))
      for name, role in ROLES),
    *(Attack(f"nesting for {role} of {name}", name, Refusal.TAMPERED, changed(name, role, lambda _: NESTED))
      for name, role in ROLES),
    *(Attack(f"a list for {role} of {name}", name, Refusal.TAMPERED, changed(name, role, lambda _: b"[]"))
      for name, role in ROLES),
    Attack("nothing", "models", Refusal.STALE, lambda _: {}),
    Attack("mixture: old snapshot", "models", Refusal.STALE, mixed("models", "snapshot", "timestamp")),
    Attack("mixture: a publisher's file of another set", "models", Refusal.TAMPERED, hashed_mixture),
    Attack("root by one key of two", "models", Refusal.NOT_TRUSTED, one_signature),
    Attack("publisher by one key of two", "models", Refusal.NOT_TRUSTED, one_of_two_publishers_keys),
    Attack("publisher by one key twice", "models", Refusal.TAMPERED, one_key_twice),
    Attack("director of another gateway", "director", Refusal.NOT_ADDRESSED, another_gateways),
    Attack("timestamp of another gateway", "director", Refusal.NOT_ADDRESSED, another_gateways_timestamp),
    Attack("director's set for models", "models", Refusal.NOT_ADDRESSED, lambda s: s.now["director"]),
    Attack("models' set for director", "director", Refusal.NOT_ADDRESSED, lambda s: s.now["models"]),
    Attack("director's root for models", "models", Refusal.NOT_ADDRESSED, directors_root),
    Attack("another publisher's file", "models", Refusal.NOT_TRUSTED, other_publishers_file),
    Attack("a hidden publisher", "models", Refusal.TAMPERED, no_more_publisher),
    Attack("a director that delegates", "director", Refusal.NOT_TRUSTED, delegating_director),
    Attack("endless delegations", "models", Refusal.TOO_LARGE, many_publishers),
    Attack("a huge timestamp", "director", Refusal.TOO_LARGE, changed("director", "timestamp", padded(16 * 1024))),
    Attack("a huge snapshot", "models", Refusal.TOO_LARGE, changed("models", "snapshot", padded(256 * 1024))),
    Attack("huge targets", "director", Refusal.TOO_LARGE, changed("director", "targets", padded(5_000_000))),
    Attack("a huge publisher", "models", Refusal.TOO_LARGE, changed("models", "pub-acme", padded(5_000_000))),
]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_is_refused_by_its_name_and_changes_nothing(scene: Scene, attack: Attack):
    """
    Whatever is offered: the refusal names it, and files, floors and what shall run are as before, also after a restart.
    """
    before = scene.gateway.kept()
    files = attack.make(scene)

    with pytest.raises(UpdateRefused) as caught:
        scene.gateway.trust.take(attack.repository, files)

    assert caught.value.refusal is attack.expect, caught.value
    assert scene.gateway.kept() == before
    scene.gateway.start()
    assert scene.gateway.kept() == before
    assert scene.gateway.runs() == "1.1.0"


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_does_not_keep_the_true_set_out(tmp_path: Path, attack: Attack):
    """
    After any attack the owners' next set is taken as if nothing had been.
    """
    house = House()
    with gateway_of(tmp_path, house) as gateway:
        gateway.take_all()
        scene = Scene(gateway, house, {"models": house.models.files(), "director": house.director.files()})
        for _ in range(2):
            house.models.bump("targets", "pub-acme")
            house.director.bump("targets")
            gateway.take_all()
        house.publisher.release("1.2.0")
        house.models.bump("pub-acme")
        house.name("1.2.0")
        house.director.bump("targets")
        true = scene.now
        with pytest.raises(UpdateRefused):
            gateway.trust.take(attack.repository, attack.make(scene))

        gateway.trust.take("models", true["models"])
        gateway.trust.take("director", true["director"])

        assert gateway.runs() == "1.2.0"
