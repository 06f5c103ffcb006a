"""The sets that the hub carries, as gateways read them: python-tuf's own updater over a dictionary, nothing of ours."""

from pathlib import Path

import pytest
from tuf.api.exceptions import ExpiredMetadataError, RepositoryError

from cloud_hub.access.authority import Authority
from cloud_hub.updates import director, renewal
from cloud_hub.updates.repository import DAY_US, MODELS, Repository, director_of
from edge_agent.updates.verification import verify
from edge_agent.updates.verified import Verified
from edge_protocol import metadata
from edge_protocol.updates import UpdateRefused
from tests.cloud_hub.updates.trusting import ACTOR, TrustedHub, ask, new_key

PATH = "engine-fault/1.0.0/manifest.json"


def test_a_gateway_finds_what_was_published(trusted: TrustedHub, tmp_path: Path) -> None:
    """
    From the first root alone the updater comes to the digest, the length and the floor of a release.
    """
    release = trusted.publish("1.0.0", floor="1.0.0").added[0]

    found = ask(tmp_path / "gateway", trusted.files(), PATH, trusted.clock.wall_us())

    assert found is not None
    assert (found.hashes, found.length) == ({"sha256": release.digest}, release.length)
    assert found.custom == {"kind": "bundle", "floor": "1.0.0"}
    assert metadata.unpack(metadata.pack(trusted.files())) == trusted.files()


def test_a_gateway_finds_what_it_should_run(trusted: TrustedHub, authority: Authority, tmp_path: Path) -> None:
    """
    The director's set names the release, the gateway, its pipelines and the publishers' snapshot it was chosen from.
    """
    release = trusted.publish("1.0.0").added[0]
    trusted.enrol("press-1", authority)
    with trusted.database.writing() as connection:
        wanted = {"left": release, "right": release}
        director.assign(
            connection, trusted.online, "press-1", wanted, rollout="7", actor=ACTOR, now_us=trusted.clock.wall_us()
        )

    files = trusted.files(director_of("press-1"))
    found = ask(tmp_path / "gateway", files, PATH, trusted.clock.wall_us())

    assert found is not None
    assert (found.hashes, found.length) == ({"sha256": release.digest}, release.length)
    assert found.custom == {
        "gateway": "press-1", "pipelines": ["left", "right"], "kind": "bundle", "rollout": "7", "models": 3,
    }  # fmt: skip


def test_a_gateway_follows_every_change(trusted: TrustedHub, tmp_path: Path) -> None:
    """
    One updater in one folder accepts each set after the one before: publications, publishers, rotations, renewals.
    """
    folder, first = tmp_path / "gateway", trusted.files()["1.root.json"]
    steps = [
        lambda: trusted.publish("1.0.0"),
        lambda: trusted.delegate("bob", new_key(), "surface"),
        trusted.rotate,
        lambda: trusted.publish("1.1.0", floor="1.1.0"),
        trusted.rotate,
        lambda: trusted.revoke("bob"),
    ]

    for step in steps:
        step()
        assert ask(folder, trusted.files(), PATH, trusted.clock.wall_us(), first) is not None

    late = ask(tmp_path / "late", trusted.files(), PATH, trusted.clock.wall_us(), first)
    assert late is not None, "a gateway that was off through two rotations follows too"


def test_what_a_revoked_publisher_signed_is_found_no_more(trusted: TrustedHub, tmp_path: Path) -> None:
    """
    After a revocation the release is nobody's, for a gateway that knew it and for a new one.
    """
    trusted.publish("1.0.0")
    now_us, known = trusted.clock.wall_us(), tmp_path / "known"
    assert ask(known, trusted.files(), PATH, now_us) is not None

    trusted.revoke("alice")

    assert ask(known, trusted.files(), PATH, now_us) is None
    assert ask(tmp_path / "new", trusted.files(), PATH, now_us) is None


def test_an_older_set_is_refused(trusted: TrustedHub, tmp_path: Path) -> None:
    """
    A carrier that brings yesterday's set to a gateway that has seen today's gets nowhere.
    """
    old = trusted.files()
    trusted.publish("1.0.0")
    ask(tmp_path / "gateway", trusted.files(), PATH, trusted.clock.wall_us())

    with pytest.raises(RepositoryError):
        ask(tmp_path / "gateway", old, PATH, trusted.clock.wall_us())


def test_signatures_are_renewed_before_they_expire(trusted: TrustedHub, authority: Authority, tmp_path: Path) -> None:
    """
    Day by day for 100 days a new gateway accepts both sets; without renewal it stops after a week.
    """
    trusted.publish("1.0.0")
    trusted.enrol("press-1", authority)
    begun_us = trusted.clock.wall_us()
    with trusted.database.writing() as connection:
        director.found(connection, trusted.online, "press-1", begun_us)
    old = trusted.files()

    for day in range(1, 101):
        now_us = begun_us + day * DAY_US
        with trusted.database.writing() as connection:
            renewal.renew(connection, trusted.online, renewal.due(connection, now_us), now_us)
            assert renewal.due(connection, now_us) == []
        if day % 10 == 0:
            for where in (MODELS, director_of("press-1")):
                ask(tmp_path / f"{day}-{where.name}", trusted.files(where), PATH, now_us + DAY_US)

    with pytest.raises(ExpiredMetadataError):
        ask(tmp_path / "old", old, PATH, begun_us + 8 * DAY_US)


def test_the_agent_takes_what_the_hub_signs(trusted: TrustedHub, authority: Authority, tmp_path: Path) -> None:
    """
    Both sides together: the agent's own verification takes both sets, also after a revocation and a rotation.
    """
    trusted.publish("1.0.0")
    trusted.enrol("press-1", authority)
    trusted.delegate("bob", new_key(), "engine-fault")  # matches alice's release too and has published nothing
    trusted.rotate()
    roots = {where: trusted.files(where)["1.root.json"] for where in (MODELS, director_of("press-1"))}

    def take(where: Repository) -> Verified:
        scratch, now_us = tmp_path / "scratch", trusted.clock.wall_us()
        return verify(where.name, "press-1", roots[where], trusted.files(where), scratch=scratch, now_us=now_us)

    assert take(MODELS).targets.keys() == {PATH}
    assert take(director_of("press-1")).targets == {}
    trusted.revoke("alice")
    assert take(MODELS).targets == {}
    with pytest.raises(UpdateRefused):
        verify(
            "director", "press-2", roots[MODELS], trusted.files(director_of("press-1")), scratch=tmp_path / "scratch"
        )
