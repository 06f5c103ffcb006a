"""The director: what each pipeline should run, in rows and in signed metadata, in one transaction."""

import json

import msgspec
import pytest

from cloud_hub.access import audit
from cloud_hub.access.authority import Authority
from cloud_hub.errors import CatalogueError, TrustError
from cloud_hub.updates import catalogue, director, repository, signing
from cloud_hub.updates.catalogue import Release
from cloud_hub.updates.repository import director_of
from cloud_hub.updates.signing import TARGETS
from edge_protocol.agreement import Directed
from edge_protocol.metadata import MARK
from tests.cloud_hub.updates.trusting import ACTOR, TrustedHub, rows_of


@pytest.fixture
def releases(trusted: TrustedHub, authority: Authority) -> list[Release]:
    """Two releases, and a gateway to run them."""
    trusted.enrol("press-1", authority)
    return [*trusted.publish("1.0.0", "1.1.0").added]


def assign(hub: TrustedHub, wanted: dict[str, Release | None], *, rollout: str = "1", gateway: str = "press-1") -> None:
    """One assignment."""
    with hub.database.writing() as connection:
        now_us = hub.clock.wall_us()
        director.assign(connection, hub.online, gateway, wanted, rollout=rollout, actor=ACTOR, now_us=now_us)


def named(hub: TrustedHub) -> dict[str, tuple[str, ...]]:
    """The pipelines of each path that the gateway's metadata names."""
    with hub.database.reading() as connection:
        raw = repository.need(connection, director_of("press-1"), TARGETS)
    return {
        target.path: msgspec.convert(target.custom, Directed).pipelines for target in signing.open_listing(raw).targets
    }


def test_an_assignment_changes_only_what_it_names(trusted: TrustedHub, releases: list[Release]) -> None:
    """
    Pipelines that are not named stay as they were; None says nothing of one any more.
    """
    old, new = releases
    assign(trusted, {"a": old, "b": old, "c": old})
    assign(trusted, {"b": new, "c": None}, rollout="2")

    with trusted.database.reading() as connection:
        found = director.assignments(connection, "press-1")
    assert {name: (each.version, each.rollout) for name, each in found.items()} == {
        "a": ("1.0.0", "1"), "b": ("1.1.0", "2")
    }  # fmt: skip
    assert named(trusted) == {
        "engine-fault/1.0.0/manifest.json": ("a",), "engine-fault/1.1.0/manifest.json": ("b",)
    }  # fmt: skip


def test_what_changes_nothing_signs_nothing(trusted: TrustedHub, releases: list[Release]) -> None:
    """
    The same assignment again, and taking back what is not there, leave every version as it is.
    """
    assign(trusted, {"a": releases[0]})
    before = trusted.files(director_of("press-1"))

    assign(trusted, {"a": releases[0], "nobody": None})

    assert trusted.files(director_of("press-1")) == before


def test_every_part_says_whose_it_is(trusted: TrustedHub, releases: list[Release]) -> None:
    """
    The signed parts are addressed, so that one gateway's set is no other's.
    """
    assign(trusted, {"a": releases[0]})

    marks = {name: json.loads(raw)["signed"][MARK] for name, raw in trusted.files(director_of("press-1")).items()}

    assert marks.pop("1.root.json") == "director"
    assert set(marks.values()) == {"director/press-1"}


def test_an_assignment_is_explained(trusted: TrustedHub, releases: list[Release]) -> None:
    """
    Who assigned what by which rollout stands in the audit chain, and the chain holds.
    """
    assign(trusted, {"a": releases[0]}, rollout="7")

    with trusted.database.reading() as connection:
        last = connection.execute(audit.audit.select().order_by(audit.audit.c.id.desc()).limit(1)).one()
        assert audit.broken_at(connection) is None
    assert (last.action, last.gateway, last.actor) == ("pipelines assigned", "press-1", ACTOR.name)
    assert last.detail["rollout"] == "7"
    assert releases[0].digest[:12] in last.detail["a"]


def test_only_what_gateways_would_run_is_assigned(trusted: TrustedHub, releases: list[Release]) -> None:
    """
    Unsigned, below the floor, or for a gateway that is not here: refused, and nothing is changed.
    """
    old = releases[0]
    trusted.publish("1.2.0", floor="1.1.0")
    with trusted.database.writing() as connection:
        trusted.store("3.0.0")
        folder = trusted.folder / "bundle-3.0.0-0"
        unsigned = catalogue.add(connection, trusted.objects, folder, ACTOR, trusted.clock.wall_us())
    with trusted.database.reading() as connection:
        before = rows_of(connection)

    for release, gateway, error in (
        (old, "press-1", CatalogueError), (unsigned, "press-1", CatalogueError), (releases[1], "press-9", TrustError),
    ):  # fmt: skip
        with pytest.raises(error) as caught:
            assign(trusted, {"a": releases[1], "b": release}, gateway=gateway)
        assert caught.value.hint

    with trusted.database.reading() as connection:
        assert rows_of(connection) == before
        assert director.assignments(connection, "press-1") == {}
