"""The carrier at work: it ends when told to, and what expires is signed in time or left alone."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cloud_hub.access import keys
from cloud_hub.clock import FixedClock
from cloud_hub.context import Tally
from cloud_hub.errors import TrustError
from cloud_hub.storage.database import Database
from cloud_hub.storage.objects import Objects
from cloud_hub.updates import signing
from cloud_hub.updates.carrier import Carrier
from cloud_hub.updates.delivery import Delivery
from edge_protocol import metadata, topics
from edge_protocol.loopback import LoopbackBroker
from tests.cloud_hub.updates.trusting import TrustedHub

DAY_S = 86_400


def delivery(database: Database, folder: Path, broker: LoopbackBroker) -> Delivery:
    """A delivery on a link in memory."""
    link = broker.link("carrier")
    carrier = Carrier(database, Objects.open(folder / "objects"), link, Tally(), holds=lambda _shard: True)
    link.start(lambda _topic, _payload: None, carrier.connected)

    def guarded(act: Callable[[], object]) -> None:
        act()

    return Delivery(carrier, guarded)


def test_a_thread_carries_until_it_is_closed(trusted: TrustedHub, tmp_path: Path) -> None:
    """
    Started, it sends what is there; closed, its thread has ended.
    """
    broker, arrived = LoopbackBroker(), threading.Event()
    ear = broker.link("press-1")
    ear.subscribe(topics.FLEET_MODELS)
    ear.start(lambda _topic, payload: arrived.set() if metadata.carried(payload).body else None, lambda: None)
    at_work = delivery(trusted.database, tmp_path, broker)

    at_work.start()

    assert arrived.wait(20)
    at_work.close()
    assert not at_work._thread.is_alive()


def test_signatures_are_looked_at_once_a_minute(trusted: TrustedHub, tmp_path: Path, clock: FixedClock) -> None:
    """
    What is a day old is signed anew with the key of the hub's folder, once; without that key it says so.
    """
    at_work = delivery(trusted.database, tmp_path, LoopbackBroker())
    with pytest.raises(TrustError, match="is not in"):
        at_work.renew(trusted.database, tmp_path, clock)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "online.pem").write_bytes(keys.private_pem(trusted.online))
    assert at_work.renew(trusted.database, tmp_path, clock) == 0
    before = signing.open_stamp(trusted.files()["timestamp.json"])

    clock.advance(DAY_S + 1)
    assert at_work.renew(trusted.database, tmp_path, clock) == 1
    assert at_work.renew(trusted.database, tmp_path, clock) == 0

    after = signing.open_stamp(trusted.files()["timestamp.json"])
    assert (after.version, after.expires_us > before.expires_us) == (before.version + 1, True)


def test_a_hub_without_keys_signs_nothing(database: Database, tmp_path: Path, clock: FixedClock) -> None:
    """
    While updates are off there is nothing to carry and nothing to renew, and that is no fault.
    """
    broker = LoopbackBroker()
    at_work = delivery(database, tmp_path, broker)

    assert at_work.renew(database, tmp_path, clock) == 0
    assert not at_work._carrier.step()
