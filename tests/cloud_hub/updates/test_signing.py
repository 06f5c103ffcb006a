"""What is signed is what python-tuf's own updater believes, and nothing else verifies."""

import json
from collections.abc import Callable

import pytest

from cloud_hub.errors import TrustError
from cloud_hub.updates import signing
from cloud_hub.updates.signing import Delegation, Keys, Listing, Stamp
from edge_protocol.agreement import Target
from edge_protocol.envelope import PrivateKey
from edge_protocol.metadata import MARK
from tests.cloud_hub.updates.trusting import new_key

NEVER_US = 4_000_000_000_000_000
TARGET = Target("engine-fault/1.0.0/manifest.json", "ab" * 32, 7, {"floor": "1.0.0"})


def keys_of(roots: list[PrivateKey], targets: PrivateKey, online: PrivateKey) -> Keys:
    """The public halves."""
    return Keys(tuple(key.public_key() for key in roots), targets.public_key(), online.public_key())


def test_a_root_needs_two_of_its_three_keys() -> None:
    """
    Two signatures make a root, one does not, and neither do two of somebody else.
    """
    roots, other = [new_key() for _ in range(3)], [new_key() for _ in range(2)]
    named = keys_of(roots, new_key(), new_key())

    enough = signing.make_root(named, Stamp(1, NEVER_US), "models", roots[1:])
    assert signing.verify_root(enough) == named
    for signers in (roots[:1], other, [roots[0], roots[0]], [roots[0], other[0]]):
        with pytest.raises(TrustError):
            signing.verify_root(signing.make_root(named, Stamp(1, NEVER_US), "models", signers))


def test_the_next_root_is_signed_by_the_one_before() -> None:
    """
    A chain of roots breaks at keys that the one before does not name, and at a version that is left out.
    """
    roots, thieves = [new_key() for _ in range(3)], [new_key() for _ in range(3)]
    named = keys_of(roots, new_key(), new_key())
    first = signing.make_root(named, Stamp(1, NEVER_US), "models", roots)

    signing.verify_root(signing.make_root(named, Stamp(2, NEVER_US), "models", roots), first)
    stolen = keys_of(thieves, new_key(), new_key())
    for raw in (
        signing.make_root(stolen, Stamp(2, NEVER_US), "models", thieves),
        signing.make_root(named, Stamp(3, NEVER_US), "models", roots),
        signing.make_root(named, Stamp(1, NEVER_US), "models", roots),
    ):
        with pytest.raises(TrustError):
            signing.verify_root(raw, first)


def test_a_listing_comes_back_as_it_went() -> None:
    """
    Version, expiry, targets with what was said of them, and publishers with their patterns survive the bytes.
    """
    key = new_key()
    publisher = Delegation("acme", new_key().public_key(), ("engine-*", "surface"))
    listing = Listing(Stamp(3, NEVER_US), (TARGET,), (publisher,))

    raw = signing.make_listing(listing, "models", key)

    assert signing.open_listing(raw) == listing
    assert signing.open_stamp(raw) == listing.stamp
    assert json.loads(raw)["signed"][MARK] == "models"
    assert raw == signing.make_listing(listing, "models", key)


def test_the_first_publisher_that_matches_is_the_one() -> None:
    """
    As a gateway looks: in order, the first pattern that fits, and no further.
    """
    one, two = (Delegation(name, new_key().public_key(), ("engine-*",)) for name in ("one", "two"))
    listing = Listing(Stamp(1, NEVER_US), (), (one, two, Delegation("all", one.key, ("*",))))

    assert listing.publisher_of("engine-fault") == "one"
    assert listing.publisher_of("surface") == "all"
    assert Listing(Stamp(1, NEVER_US)).publisher_of("surface") == ""


def changed(raw: bytes, change: Callable[[dict[str, object]], object]) -> bytes:
    """The same metadata with its signed part changed, the signature kept."""
    body = json.loads(raw)
    change(body["signed"])
    return json.dumps(body).encode()


def test_what_was_changed_or_signed_by_another_does_not_verify() -> None:
    """
    One byte of what was signed, another's key, another's role, no signature at all: none is a publisher's word.
    """
    top, alice, other = new_key(), new_key(), new_key()
    publishers = (Delegation("alice", alice.public_key(), ("*",)), Delegation("other", other.public_key(), ("*",)))
    above = signing.make_listing(Listing(Stamp(1, NEVER_US), (), publishers), "models", top)
    good = signing.make_listing(Listing(Stamp(1, NEVER_US), (TARGET,)), "", alice)
    unsigned = json.dumps({**json.loads(good), "signatures": []}).encode()

    assert signing.verify_listing(good, "pub-alice", above).targets == (TARGET,)
    for raw, role in (
        (changed(good, lambda signed: signed.update(version=2)), "pub-alice"),
        (signing.make_listing(Listing(Stamp(1, NEVER_US)), "", other), "pub-alice"),
        (good, "pub-other"),
        (good, "pub-nobody"),
        (unsigned, "pub-alice"),
    ):
        with pytest.raises(TrustError) as caught:
            signing.verify_listing(raw, role, above)
        assert caught.value.hint


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\xff\xfe", b"null", b"[]", b"{}", b'{"signed": {}, "signatures": []}', b"[" * 100_000, b"1" * 5_000,
        b'{"signatures": [], "signed": {"_type": "targets", "version": 1, "spec_version": "1.0", "targets": 3}}',
        b" " * (signing.MAX_METADATA_BYTES + 1),
    ],
)  # fmt: skip
def test_hostile_bytes_are_refused_by_one_error(raw: bytes) -> None:
    """
    Whatever is handed in ends in a refusal with a cure, never in another exception.
    """
    for read in (signing.open_listing, signing.open_stamp, signing.open_keys):
        with pytest.raises(TrustError) as caught:
            read(raw)
        assert caught.value.hint
