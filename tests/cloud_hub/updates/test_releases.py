"""The hub's half of publishing: what a publisher signed is taken as a whole or not at all."""

from collections.abc import Callable

import msgspec
import pytest

from cloud_hub.access import audit
from cloud_hub.clock import FixedClock
from cloud_hub.errors import CatalogueError, HubError
from cloud_hub.updates import catalogue, repository, signing
from cloud_hub.updates.repository import MODELS, after
from cloud_hub.updates.signing import Delegation, Listing, Stamp
from edge_protocol import bundle
from edge_protocol.agreement import Target
from tests.cloud_hub.updates.trusting import ACTOR, TrustedHub, new_key, rows_of, target_of


def test_a_release_is_known_with_its_publisher_and_floor(trusted: TrustedHub) -> None:
    """
    After a publication the catalogue says who signed, the floor, and each file that a gateway may want.
    """
    accepted = trusted.publish("1.0.0", floor="1.0.0")

    release = accepted.added[0]
    assert (release.publisher, release.floor, release.version) == ("alice", "1.0.0", "1.0.0")
    with trusted.database.reading() as connection:
        assert catalogue.find(connection, "engine-fault", "1.0.0") == release
        assert catalogue.by_digest(connection, release.digest) == release
        assert catalogue.floors(connection) == {"engine-fault": "1.0.0"}
        assert rows_of(connection)["bundle_files"] == 4
        assert rows_of(connection)["drift_references"] == 1
        assert audit.broken_at(connection) is None
    assert catalogue.manifest(trusted.objects, release).name == "engine-fault"


def test_the_same_again_changes_nothing(trusted: TrustedHub) -> None:
    """
    A publisher whose answer was lost hands in again: the same answer, no new row, no new version.
    """
    raw = trusted.sign(target_of(trusted.store()), version=1)
    trusted.accept(raw)
    with trusted.database.reading() as connection:
        before = rows_of(connection), repository.files(connection, MODELS)

    assert trusted.accept(raw).version == 1

    with trusted.database.reading() as connection:
        assert (rows_of(connection), repository.files(connection, MODELS)) == before


def test_a_bundle_that_was_put_here_gets_its_publisher(trusted: TrustedHub) -> None:
    """
    What commissioning added unsigned cannot be rolled out; its publication signs the same release.
    """
    raw = trusted.store()
    with trusted.database.writing() as connection:
        folder = trusted.folder / "bundle-1.0.0-0"
        added = catalogue.add(connection, trusted.objects, folder, ACTOR, trusted.clock.wall_us())
    assert added.publisher == ""

    accepted = trusted.accept(trusted.sign(target_of(raw), version=1))

    assert accepted.added == (msgspec.structs.replace(added, publisher="alice"),)


def test_a_revoked_publisher_leaves_its_floors_and_nothing_else(trusted: TrustedHub) -> None:
    """
    Its releases are nobody's; what it forbade stays forbidden; another publisher may sign the same release.
    """
    trusted.publish("1.0.0", "1.1.0", floor="1.1.0")
    trusted.revoke("alice")
    with trusted.database.reading() as connection:
        assert [each.publisher for each in catalogue.releases(connection)] == ["", ""]
        assert catalogue.floors(connection) == {"engine-fault": "1.1.0"}

    bob = new_key()
    trusted.delegate("bob", bob, "engine-fault")
    trusted.accept(trusted.sign(target_of(trusted.store("1.1.0", threshold=0.5)), version=1, key=bob), "bob")

    with trusted.database.reading() as connection:
        assert [each.publisher for each in catalogue.releases(connection)] == ["", "bob"]
        assert catalogue.floors(connection) == {"engine-fault": "1.1.0"}


Attack = Callable[[TrustedHub, Target], bytes]


def _delegating(hub: TrustedHub, first: Target) -> bytes:
    friend = Delegation("friend", new_key().public_key(), ("*",))
    stamp = Stamp(2, after(hub.clock.wall_us(), 30))
    return signing.make_listing(Listing(stamp, (first,), (friend,)), "", hub.alice)


def _without_a_file(hub: TrustedHub, first: Target) -> bytes:
    raw = hub.store("1.1.0", threshold=0.6)
    digest = bundle.parse(raw).files["model.onnx"].sha256
    (hub.folder / "objects" / digest[:2] / digest).unlink()
    return hub.sign(first, target_of(raw), version=2)


def _with_another_length(hub: TrustedHub, first: Target) -> bytes:
    target = target_of(hub.store("1.1.0"))
    return hub.sign(first, msgspec.structs.replace(target, length=target.length + 1), version=2)


def _renamed(hub: TrustedHub, first: Target) -> bytes:
    return hub.sign(first, target_of(hub.store("1.1.0"), path="engine-fault/1.2.0/manifest.json"), version=2)


def _other_content(hub: TrustedHub, first: Target) -> bytes:
    with hub.database.writing() as connection:
        hub.store("1.1.0")
        catalogue.add(connection, hub.objects, hub.folder / "bundle-1.1.0-0", ACTOR, hub.clock.wall_us())
    return hub.sign(first, target_of(hub.store("1.1.0", threshold=0.7)), version=2)


ATTACKS: dict[str, tuple[Attack, str]] = {
    "a stranger's key": (lambda hub, first: hub.sign(first, version=2, key=new_key()), "not signed"),
    "the hub's own key": (lambda hub, first: hub.sign(first, version=2, key=hub.online), "not signed"),
    "a version left out": (lambda hub, first: hub.sign(first, version=3), "does not follow"),
    "the same version with other content": (lambda hub, _first: hub.sign(version=1), "does not follow"),
    "a release left out": (lambda hub, _first: hub.sign(version=2), "left out"),
    "a release changed": (
        lambda hub, first: hub.sign(msgspec.structs.replace(first, sha256="ab" * 32), version=2),
        "changed",
    ),
    "a floor added later": (
        lambda hub, first: hub.sign(
            msgspec.structs.replace(first, custom={"kind": "bundle", "floor": "1.0.0"}), version=2
        ),
        "changed",
    ),
    "a name outside": (
        lambda hub, first: hub.sign(first, Target("surface/1.0.0/manifest.json", "ab" * 32, 9), version=2),
        "may not sign",
    ),
    "no path of a release": (
        lambda hub, first: hub.sign(first, Target("engine-fault/latest", "ab" * 32, 9), version=2),
        "manifest.json",
    ),
    "a floor above itself": (
        lambda hub, first: hub.sign(first, target_of(hub.store("1.1.0"), floor="2.0.0"), version=2),
        "above engine-fault",
    ),
    "a floor that is none": (
        lambda hub, first: hub.sign(first, target_of(hub.store("1.1.0"), floor="newest"), version=2),
        "not understood",
    ),
    "another kind": (
        lambda hub, first: hub.sign(
            first, Target("engine-fault/2.0.0/manifest.json", "ab" * 32, 9, {"kind": "agent"}), version=2
        ),
        "not understood",
    ),
    "a delegation": (_delegating, "delegates"),
    "for ever": (lambda hub, first: hub.sign(first, version=2, days=400), "at most"),
    "expired": (lambda hub, first: hub.sign(first, version=2, days=-1), "from now on"),
    "no manifest here": (
        lambda hub, first: hub.sign(first, Target("engine-fault/2.0.0/manifest.json", "ab" * 32, 9), version=2),
        "not in the object store",
    ),
    "a file that is not here": (_without_a_file, "model.onnx"),
    "another length": (_with_another_length, "not in the object store"),
    "another release's manifest": (_renamed, "names the manifest"),
    "another release of that version": (_other_content, "is in the catalogue as"),
    "not metadata": (lambda _hub, _first: b"{}", "not TUF"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_may_not_be_said_is_refused_whole(trusted: TrustedHub, attack: str) -> None:
    """
    Each refusal names its cause and cure; no row, no metadata and no version has changed.
    """
    make, cause = ATTACKS[attack]
    first = target_of(trusted.store())
    trusted.accept(trusted.sign(first, version=1))
    raw = make(trusted, first)
    with trusted.database.reading() as connection:
        before = rows_of(connection), repository.files(connection, MODELS)

    with pytest.raises(HubError, match=cause) as caught:
        trusted.accept(raw)

    assert caught.value.hint
    with trusted.database.reading() as connection:
        assert (rows_of(connection), repository.files(connection, MODELS)) == before


def test_a_lost_manifest_is_named(trusted: TrustedHub) -> None:
    """
    A store that has other bytes under a digest than it should is not believed.
    """
    raw = trusted.store()
    digest = bundle.digest(raw)
    (trusted.folder / "objects" / digest[:2] / digest).write_bytes(raw[:-1] + b" ")

    with pytest.raises(HubError, match="other bytes"):
        trusted.accept(trusted.sign(target_of(raw), version=1))


def test_another_publishers_turn(trusted: TrustedHub, clock: FixedClock) -> None:
    """
    A key that is delegated to for one name says nothing about another's, even where its own pattern would fit.
    """
    bob = new_key()
    trusted.delegate("bob", bob, "engine-*")

    with pytest.raises(HubError, match="alice") as caught:
        trusted.accept(trusted.sign(target_of(trusted.store()), version=1, key=bob), "bob")

    assert not isinstance(caught.value, CatalogueError)
