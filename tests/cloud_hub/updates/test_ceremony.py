"""Who may sign what: made once, given by name, taken back for good."""

import pytest

from cloud_hub.access import audit
from cloud_hub.access.authority import Authority
from cloud_hub.errors import ConfigError, TrustError
from cloud_hub.updates import ceremony, repository, signing
from cloud_hub.updates.offline import Offline
from cloud_hub.updates.repository import DIRECTORS, MODELS, director_of
from cloud_hub.updates.signing import ROOT
from tests.cloud_hub.updates.trusting import ACTOR, TrustedHub, new_key


def test_the_roots_are_made_once(trusted: TrustedHub) -> None:
    """
    A second beginning would lock out every gateway: it is refused, and the roots stay.
    """
    before = trusted.files()

    with pytest.raises(ConfigError) as caught:
        trusted.begin()

    assert caught.value.hint
    assert trusted.files() == before


def test_gateways_that_were_there_before_are_directed(trusted: TrustedHub, authority: Authority) -> None:
    """
    A rotation signs for every enrolled gateway, also for one that has no metadata yet.
    """
    trusted.enrol("press-1", authority)

    trusted.rotate()

    assert trusted.files(director_of("press-1")).keys() == {
        "1.root.json", "2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "patterns", "cause"),
    [
        ("alice", ["other"], "is delegated to"),
        ("", ["x"], "not a publisher's name"),
        ("-a", ["x"], "not a publisher's name"),
        ("A", ["x"], "not a publisher's name"),
        ("a" * 41, ["x"], "not a publisher's name"),
        ("../a", ["x"], "not a publisher's name"),
        ("bob", [], "not a pattern"),
        ("bob", ["a/b"], "not a pattern"),
        ("bob", ["a", "[!a]"], "not a pattern"),
        ("bob", [""], "not a pattern"),
        ("bob", ["**/*"], "not a pattern"),
    ],
)
def test_what_cannot_be_delegated(trusted: TrustedHub, name: str, patterns: list[str], cause: str) -> None:
    """
    A name or a pattern that is not plain, or a name that is given, is refused with a cure.
    """
    with pytest.raises(TrustError, match=cause) as caught:
        trusted.delegate(name, new_key(), *patterns)

    assert caught.value.hint


def test_what_was_revoked_is_not_given_again(trusted: TrustedHub) -> None:
    """
    Neither the name nor the key of a revoked publisher comes back; another key under another name does.
    """
    trusted.revoke("alice")

    for name, key in (("alice", new_key()), ("bob", trusted.alice)):
        with pytest.raises(TrustError, match="was revoked"):
            trusted.delegate(name, key, "engine-*")
    with pytest.raises(TrustError, match="no publisher"):
        trusted.revoke("alice")
    trusted.delegate("bob", new_key(), "engine-*")


def test_only_the_right_keys_open_the_ceremony(trusted: TrustedHub) -> None:
    """
    Another hub's targets key delegates nothing, and one root key, or another hub's, names no new online key.
    """
    before = trusted.files()
    trusted.offline = Offline(trusted.offline.roots[:1] * 2, new_key())

    with pytest.raises(TrustError, match="targets key"):
        trusted.delegate("bob", new_key(), "x")
    with pytest.raises(TrustError, match="not signed"):
        trusted.rotate()
    trusted.offline = Offline((new_key(), new_key(), new_key()), new_key())
    with pytest.raises(TrustError, match="not signed"):
        trusted.rotate()

    assert trusted.files() == before


def test_the_two_roots_differ_in_who_names_what_exists(trusted: TrustedHub) -> None:
    """
    The online key signs what a gateway should run; what may exist is signed by a key that is not here.
    """
    with trusted.database.reading() as connection:
        models, directors = (signing.open_keys(repository.need(connection, each, ROOT)) for each in (MODELS, DIRECTORS))

    assert models.targets == trusted.offline.targets.public_key()
    assert directors.targets == trusted.online.public_key()
    assert models.root == directors.root
    assert models.online == directors.online == trusted.online.public_key()


def test_every_act_is_in_the_audit_chain(trusted: TrustedHub) -> None:
    """
    Beginning, delegation, revocation and rotation each leave a row with who and why; the chain holds.
    """
    trusted.revoke("alice")
    trusted.rotate()

    with trusted.database.reading() as connection:
        rows = connection.execute(audit.audit.select().order_by(audit.audit.c.id)).all()
        assert audit.broken_at(connection) is None
    assert [row.action for row in rows] == [
        "keys made", "publisher delegated", "publisher revoked", "online key rotated"
    ]  # fmt: skip
    assert {(row.actor, row.reason) for row in rows} == {(ACTOR.name, ACTOR.reason)}


def test_more_publishers_than_gateways_look_at_are_refused(trusted: TrustedHub) -> None:
    """
    A publisher that no gateway would ask is not delegated to.
    """
    for number in range(1, ceremony.MAX_PUBLISHERS):
        trusted.delegate(f"p{number}", new_key(), f"model-{number}")

    with pytest.raises(TrustError, match="publishers are delegated"):
        trusted.delegate("one-more", new_key(), "model")
