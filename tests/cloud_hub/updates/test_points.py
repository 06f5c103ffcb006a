"""Operating points at the hub: taken when they are whole and rightly signed, named by the director, by nobody else."""

import hashlib
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from sqlalchemy import select

from cloud_hub.access.authority import Authority
from cloud_hub.errors import CatalogueError, TrustError
from cloud_hub.storage.schema import audit, states
from cloud_hub.updates import director, points, repository, signing
from cloud_hub.updates.catalogue import Release
from cloud_hub.updates.points import PointRelease
from cloud_hub.updates.repository import MODELS, director_of
from cloud_hub.updates.rollouts.plan import Selection
from cloud_hub.updates.signing import TARGETS
from edge_agent.updates.verification import verify
from edge_protocol import messages
from edge_protocol import points as language
from edge_protocol.agreement import Directed, Target
from edge_protocol.bundle import OperatingPoint
from edge_protocol.messages import GatewayState, PipelineState, Place, Time
from edge_protocol.points import Point, WantedPoint
from tests.cloud_hub.updates.trusting import ACTOR, TrustedHub, new_key

STRICT = OperatingPoint(accept=0.1, reject=0.2)


@pytest.fixture
def release(trusted: TrustedHub, authority: Authority) -> Release:
    """A release that `seal` of press-1 runs; `door` runs something else."""
    trusted.enrol("press-1", authority)
    (release,) = trusted.publish("1.0.0").added
    say(trusted, "press-1", seal=release.digest, door="0" * 64)
    return release


def say(hub: TrustedHub, gateway: str, *, point: str = "", **runs: str) -> None:
    """A gateway says what its pipelines run and judge by."""
    lines = tuple(PipelineState(name, digest=digest, operating_point=point) for name, digest in runs.items())
    state = GatewayState(
        gateway=gateway, agent_version="1", place=Place(), time=Time("b", 1, 1, 1), sent_us=5, pipelines=lines
    )
    row = {"gateway": gateway, "run": 1, "boot": "b", "sent_us": 5, "received_us": 5, "body": messages.encode(state)}
    with hub.database.writing() as connection:
        connection.execute(states.delete().where(states.c.gateway == gateway))
        connection.execute(states.insert().values(**row))


def made(release: Release, **changes: object) -> Point:
    """An operating point for a release."""
    point = Point(
        schema=1, bundle=release.name, digest=release.digest, name="line-3", version="1.0.0", operating_point=STRICT
    )
    return replace(point, **changes)


def target_of(hub: TrustedHub, point: Point, **changes: object) -> Target:
    """Its target, the file in the object store."""
    raw = language.canonical(point)
    hub.objects.put(raw)
    path = language.path_of(point.bundle, point.name, point.version)
    custom: dict[str, object] = {"kind": language.KIND, "floor": ""}
    return replace(Target(path, hashlib.sha256(raw).hexdigest(), len(raw), custom), **changes)


def publish(hub: TrustedHub, *targets: Target) -> None:
    """Alice hands them in beside what she has signed before."""
    with hub.database.reading() as connection:
        version = repository.version_of(connection, MODELS, "pub-alice") + 1
        before = repository.latest(connection, MODELS, "pub-alice")
    known = () if before is None else signing.open_listing(before).targets
    hub.accept(hub.sign(*known, *targets, version=version))


def assign(hub: TrustedHub, name: str | None, version: str = "1.0.0", **chosen: object) -> list[tuple[str, str]]:
    """Have the selected pipelines judge by it; who was meant."""
    with hub.database.writing() as connection:
        found = points.find(connection, "engine-fault", name, version) if name is not None else None
        meant = points.selected(connection, Selection(**chosen), "default", found.digest if found else "")
        points.assign(connection, hub.online, meant, found, actor=ACTOR, now_us=hub.clock.wall_us())
    return meant


def wanted(hub: TrustedHub, folder: Path, gateway: str = "press-1") -> dict[str, object]:
    """What a gateway makes of both sets, by its own verification."""
    views = {}
    for where in (MODELS, director_of(gateway)):
        files = hub.files(where)
        root = files["1.root.json"]
        views[where.name] = verify(
            where.name, gateway, root, files, scratch=folder / where.name, now_us=hub.clock.wall_us()
        )
    models, directed = views["models"], views["director"]
    published = {path: found for path in directed.targets if (found := models.target(path)) is not None}
    return dict(language.agree(gateway, ("seal", "door"), directed.targets.values(), published))


def test_a_gateway_agrees_with_what_was_published_and_assigned(
    trusted: TrustedHub, release: Release, tmp_path: Path
) -> None:
    """Signed by who may sign the bundle, named by the director: the gateway's own rule takes it, for that pipeline."""
    target = target_of(trusted, made(release))
    publish(trusted, target)
    assert assign(trusted, "line-3", gateways=("press-1",)) == [("press-1", "seal")]

    said = wanted(trusted, tmp_path / "gateway")

    assert said == {"seal": WantedPoint("seal", "engine-fault", "line-3", "1.0.0", target.sha256, target.length)}
    with trusted.database.reading() as connection:
        query = select(audit.c.action, audit.c.subject).order_by(audit.c.id.desc()).limit(2)
        entries = [tuple(row) for row in connection.execute(query)][::-1]
    assert entries == [
        ("operating point published", "engine-fault line-3 1.0.0"), ("operating point assigned", "press-1"),
    ]  # fmt: skip


def test_an_assignment_stands_beside_the_releases_and_can_be_taken_back(
    trusted: TrustedHub, release: Release, tmp_path: Path
) -> None:
    """What a pipeline runs and what it judges by are two words of the director; each stays when the other changes."""
    publish(trusted, target_of(trusted, made(release)))
    with trusted.database.writing() as connection:
        now_us = trusted.clock.wall_us()
        director.assign(
            connection, trusted.online, "press-1", {"seal": release}, rollout="1", actor=ACTOR, now_us=now_us
        )
    assign(trusted, "line-3")
    with trusted.database.reading() as connection:
        listing = signing.open_listing(repository.need(connection, director_of("press-1"), TARGETS))
    kinds = {each.path: msgspec.convert(each.custom, Directed).kind for each in listing.targets}
    assert kinds == {
        "engine-fault/1.0.0/manifest.json": "bundle",
        "engine-fault/operating-points/line-3/1.0.0.json": "operating-point",
    }

    assert assign(trusted, None, pipelines=("seal",)) == [("press-1", "seal")]

    assert wanted(trusted, tmp_path / "gateway") == {}
    with trusted.database.reading() as connection:
        assert points.assignments(connection) == []
        assert set(director.assignments(connection, "press-1")) == {"seal"}


def test_another_takes_its_place(trusted: TrustedHub, release: Release, tmp_path: Path) -> None:
    """A pipeline judges by one operating point."""
    publish(trusted, target_of(trusted, made(release)))
    publish(trusted, target_of(trusted, made(release, version="1.0.1")))
    assign(trusted, "line-3")
    assign(trusted, "line-3", "1.0.1")

    (said,) = wanted(trusted, tmp_path / "gateway").values()

    assert isinstance(said, WantedPoint)
    assert said.version == "1.0.1"


def test_what_a_gateway_says_of_itself_stands_beside_what_it_should(trusted: TrustedHub, release: Release) -> None:
    """Success is what was measured: until the gateway names the digest, it does not judge by it."""
    target = target_of(trusted, made(release))
    publish(trusted, target)
    assign(trusted, "line-3")
    with trusted.database.reading() as connection:
        (before,) = points.assignments(connection)
    say(trusted, "press-1", seal=release.digest, point=target.sha256)
    with trusted.database.reading() as connection:
        (after,) = points.assignments(connection)

    assert (before.judges_by, after.judges_by) == ("", target.sha256)


REFUSED = [
    (lambda hub, point: target_of(hub, point, sha256="0" * 64), "object store"),
    (lambda hub, point: target_of(hub, replace(point, digest="0" * 64)), "not here"),
    (lambda hub, point: target_of(hub, replace(point, operating_point=OperatingPoint(accept=2, reject=1))), "accept"),
    (
        lambda hub, point: target_of(hub, point, path=language.path_of("engine-fault", "line-4", "1.0.0")),
        "line-3",
    ),
    (lambda hub, point: target_of(hub, point, custom={"kind": language.KIND, "floor": "1.0.0"}), "not understood"),
    (lambda hub, point: target_of(hub, point, length=10**6), "not understood"),
    (lambda hub, point: target_of(hub, point, path="engine-fault/elsewhere.json"), "operating point"),
    (lambda hub, point: target_of(hub, replace(point, bundle="press-fault")), "may not sign"),
]


@pytest.mark.parametrize(("make", "words"), REFUSED)
def test_what_is_not_whole_or_not_hers_is_not_taken(trusted: TrustedHub, release: Release, make, words: str) -> None:
    """Refused as a whole, with the reason, and nothing has changed."""
    before = trusted.files()

    with pytest.raises((CatalogueError, TrustError), match=words):
        publish(trusted, make(trusted, made(release)))

    assert trusted.files() == before
    with trusted.database.reading() as connection:
        assert points.releases(connection) == []


def test_nothing_is_assigned_that_no_gateway_would_take(trusted: TrustedHub, release: Release) -> None:
    """To a pipeline that runs another release, to a gateway that is not there, by a key that was revoked."""
    publish(trusted, target_of(trusted, made(release)))
    with pytest.raises(CatalogueError, match="no pipeline"):
        assign(trusted, "line-3", pipelines=("door",))
    with pytest.raises(CatalogueError, match="not enrolled"):
        assign(trusted, "line-3", gateways=("press-9",))
    with pytest.raises(CatalogueError, match="no operating point"):
        assign(trusted, "line-9")
    trusted.revoke("alice")
    with pytest.raises(CatalogueError, match="revoked"):
        assign(trusted, "line-3")


def test_a_published_one_is_found_as_it_was(trusted: TrustedHub, release: Release) -> None:
    """The same metadata again changes nothing, and who is delegated a name may sign both its kinds of targets."""
    target = target_of(trusted, made(release))
    publish(trusted, target)
    trusted.delegate("bob", new_key(), "press-*")

    with trusted.database.reading() as connection:
        (found,) = points.releases(connection)
        top = signing.open_listing(repository.need(connection, MODELS, TARGETS))
    assert isinstance(found, PointRelease)
    assert (found.path, found.sha256, found.publisher, found.digest) == (
        target.path, target.sha256, "alice", release.digest,
    )  # fmt: skip
    assert [(each.name, each.patterns) for each in top.delegations] == [("alice", ("engine-*",)), ("bob", ("press-*",))]
