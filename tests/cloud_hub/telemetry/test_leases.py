"""Which replica works for which shard."""

import pytest

from cloud_hub.clock import FixedClock
from cloud_hub.storage.database import Database
from cloud_hub.telemetry.leases import Leases, filters
from edge_protocol import topics


@pytest.fixture
def replicas(database: Database, clock: FixedClock) -> tuple[Leases, Leases]:
    """Two replicas of one hub."""
    return Leases(database, "a", clock, ttl_s=15), Leases(database, "b", clock, ttl_s=15)


def test_the_first_replica_holds_every_shard(replicas: tuple[Leases, Leases]) -> None:
    """
    One replica alone needs one subscription; a second one gets nothing while the first lives.
    """
    a, b = replicas

    assert a.step() == frozenset(topics.SHARDS)
    assert b.step() == frozenset()
    assert filters(a.step()) == (topics.ALL_UP,)
    assert filters(b.step()) == ()
    assert a.holds("00")
    assert not b.holds("00")


def test_no_two_replicas_hold_a_shard(replicas: tuple[Leases, Leases], clock: FixedClock) -> None:
    """
    At every moment a shard has one holder at most, also when one of them is slow.
    """
    a, b = replicas
    a.step()
    for n in range(60):
        clock.advance(1)
        if n % 4 == 0 and n < 20:
            a.step()
        b.step()
        held = [shard for shard in topics.SHARDS if a.holds(shard) and b.holds(shard)]
        assert held == []

    assert b.holds("ff")


def test_a_silent_replicas_shards_are_taken_over(replicas: tuple[Leases, Leases], clock: FixedClock) -> None:
    """
    After the lease has run out another replica takes everything, and the first one knows that it holds nothing.
    """
    a, b = replicas
    a.step()

    clock.advance(15.1)

    assert not a.holds("00")
    assert b.step() == frozenset(topics.SHARDS)
    assert a.step() == frozenset()


def test_a_replica_that_leaves_is_followed_at_once(replicas: tuple[Leases, Leases], clock: FixedClock) -> None:
    """
    An orderly stop needs no waiting.
    """
    a, b = replicas
    a.step()

    a.release()
    clock.advance(0.001)

    assert not a.holds("00")
    assert b.step() == frozenset(topics.SHARDS)


def test_a_replica_that_was_killed_takes_up_its_own(database: Database, clock: FixedClock) -> None:
    """
    A restarted replica holds what it held, without waiting for its own lease to run out.
    """
    Leases(database, "a", clock).step()

    assert Leases(database, "a", clock).step() == frozenset(topics.SHARDS)


def test_some_shards_are_subscribed_one_by_one() -> None:
    """
    A replica hears its own shards only.
    """
    assert filters(frozenset({"0a", "01"})) == (topics.up_filter("01"), topics.up_filter("0a"))
