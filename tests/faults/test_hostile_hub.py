from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from paho.mqtt import client, publish

from edge_agent.agent import Agent
from edge_protocol import envelope, messages, ranges, topics
from edge_protocol.messages import Receipt
from edge_protocol.mqtt import MqttLink
from tests.edge_protocol.brokers import EmbeddedBroker
from tests.gateways import Gateway, until
from tests.hub_simulator import HubSimulator

HUB = """
[hub]
broker = "mqtt://127.0.0.1:{port}"
linger_s = 0.1
state_s = 0.1
resend_s = {resend_s}
backoff_s = 0.2

[store]
commit_s = 0.2
"""


class Site:
    """A gateway and a hub that can lie, with a real broker between them."""

    def __init__(self, folder: Path, resend_s: float = 0.5) -> None:
        self.broker = EmbeddedBroker(folder)
        port = self.broker.ports["5"]
        self.gateway = Gateway(folder / "press-1", rate_hz=100, more=HUB.format(port=port, resend_s=resend_s))
        key = self.gateway.enrol()
        public = envelope.load_private_key((self.gateway.data / "identity/key.pem").read_bytes()).public_key()
        link = MqttLink(f"mqtt://127.0.0.1:{port}", "hub", backoff_s=(0.1, 0.2))
        self.hub = HubSimulator(link, "press-1", key, public)
        self.hub.start()

    def close(self) -> None:
        """End the hub and the broker."""
        self.hub.link.close()
        self.broker.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site whose gateway is not yet running."""
    site = Site(tmp_path)
    yield site
    site.close()


def produced(gateway: Gateway) -> dict[tuple[int, str], ranges.Ranges]:
    """Every number that the gateway has given."""
    return {(each.epoch, each.stream): ((1, each.produced),) for each in gateway.made() if each.produced}


def held(gateway: Gateway) -> int:
    """How many records wait on the gateway's disk."""
    return sum(ranges.count(each.held) for each in gateway.made())


def refused(agent: Agent) -> int:
    """How many messages of the hub were not believed."""
    assert agent._uplink is not None
    return agent._uplink.tally.refused


def session_of(agent: Agent) -> object:
    """The connection that the agent has now: another object after each reconnect."""
    assert agent._uplink is not None
    assert isinstance(agent._uplink._link, MqttLink)
    return agent._uplink._link._session


def test_what_the_hub_has_leaves_the_gateway(site: Site) -> None:
    """With an honest hub everything is archived once when the gateway has stopped, and nothing waits."""
    with site.gateway.inside():
        assert site.hub.await_that(lambda: len(site.hub.triggers()) > 50)

    assert held(site.gateway) == 0
    assert {key: site.hub.archive.has(*key) for key in produced(site.gateway)} == produced(site.gateway)
    assert site.hub.triggers() == [n for n, _, _ in site.gateway.verdicts()]
    assert site.hub.missing(site.hub.states[-1]) == {}


def test_a_brokers_word_lets_nothing_go(site: Site) -> None:
    """While the hub is silent the broker takes every message, and every record stays on the gateway's disk."""
    site.hub.answers = lambda _receipt: None

    with site.gateway.inside():
        assert site.hub.await_that(lambda: site.hub.batches > 10)
        waiting = [site.hub.states[-1]]
        assert site.hub.await_that(lambda: len(site.hub.states) > 3)
        waiting = site.hub.states[-3:]

    assert all(each.held == ((1, each.produced),) for state in waiting for each in state.streams)
    assert held(site.gateway) == sum(each.produced for each in site.gateway.made())


def test_a_lost_receipt_costs_messages_and_no_record(site: Site) -> None:
    """Every second receipt is lost: batches come again, each record is archived once, and nothing waits at the end."""
    lost = iter(range(10**9))
    site.hub.answers = lambda receipt: receipt if next(lost) % 2 else None

    with site.gateway.inside() as agent:
        assert site.hub.await_that(lambda: len(site.hub.triggers()) > 100)
        until("resent batches", lambda: agent._uplink and agent._uplink.tally.resent)
        site.hub.answers = lambda receipt: receipt
        until("an empty outbox", lambda: held(site.gateway) < 20)

    assert held(site.gateway) == 0
    assert site.hub.triggers() == [n for n, _, _ in site.gateway.verdicts()]


def forgeries(site: Site) -> list[bytes]:
    """Receipts that would let everything go, if they were believed, and what is no receipt at all."""
    hub, everything = site.hub, ((1, 10_000),)
    epoch = site.gateway.made()[0].epoch
    receipt = Receipt(
        gateway="press-1", epoch=epoch, stream="verdicts", committed=everything, answers=everything, hub_us=2**60
    )
    topic = topics.down("press-1", "receipt")
    body = messages.encode(receipt)
    sealed = envelope.seal(topic, body, hub.key)
    another = ed25519.Ed25519PrivateKey.generate()
    renamed = msgspec.structs.replace(
        envelope.peek(envelope.seal(topic, body, another)), key_id=envelope.key_id(hub.key.public_key())
    )
    return [
        envelope.seal(topic, body, another),
        msgspec.msgpack.encode(renamed),
        envelope.seal(topics.down("press-2", "receipt"), body, hub.key),
        hub.seal(msgspec.structs.replace(receipt, gateway="press-2")),
        hub.seal(msgspec.structs.replace(receipt, schema=99)),
        envelope.seal(topic, msgspec.msgpack.encode({"committed": [[5, 1]]}), hub.key),
        envelope.seal(topic, b"\x91" * 5000, hub.key),
        sealed[: len(sealed) // 2],
        sealed[:-1] + bytes([sealed[-1] ^ 1]),
        b"",
        b"\x00",
        b"\xc1" * 1000,
        b"\x91" * 100_000,
    ]


def send_oversized(site: Site) -> None:
    """A message above the protocol's limit, by a client that knows no limit."""
    publish.single(
        topics.down("press-1", "receipt"), bytes(300 * 1024), qos=1, port=site.broker.ports["5"],
        protocol=client.MQTTv5,
    )  # fmt: skip


def test_hostile_messages_are_counted_and_nothing_else(site: Site) -> None:
    """Forged, foreign, torn, oversized and senseless receipts: counted, the connection kept, no record let go."""
    site.hub.answers = lambda _receipt: None
    with site.gateway.inside() as agent:
        assert site.hub.await_that(lambda: site.hub.batches > 3)
        hostile = forgeries(site)
        session = session_of(agent)
        floor_us = agent._clock.floor_us

        send_oversized(site)
        for message in hostile:
            until("room in the link's window", partial(site.hub.say, message))
        until("all to be refused", lambda: refused(agent) >= len(hostile))
        still = held(site.gateway)
        kept = session_of(agent) is session
        jumped_us = agent._clock.floor_us - floor_us
        site.hub.answers = lambda receipt: receipt
        until("an honest receipt", lambda: agent._uplink.tally.receipts)  # type: ignore[union-attr]

    assert still > 0
    assert kept
    assert jumped_us < 60_000_000
    assert held(site.gateway) == 0
    assert site.hub.triggers() == [n for n, _, _ in site.gateway.verdicts()]


def test_a_receipt_for_what_was_never_made_changes_nothing_that_was(site: Site) -> None:
    """A hub that claims to have more than there is: the gateway goes on in a new epoch, and no verdict is lost."""

    def boast(receipt: Receipt) -> Receipt:
        high = max(last for _, last in receipt.committed)
        return msgspec.structs.replace(receipt, committed=ranges.union(receipt.committed, ((high + 500, high + 600),)))

    first = iter([boast])
    site.hub.answers = lambda receipt: (
        next(first, lambda same: same)(receipt) if receipt.stream == "verdicts" else receipt
    )

    def epochs() -> set[int]:
        return {epoch for epoch, stream in list(site.hub.archive.rows) if stream == "verdicts"}

    with site.gateway.inside():
        assert site.hub.await_that(lambda: len(epochs()) == 2)

    assert len(epochs()) == 2
    assert held(site.gateway) == 0
    assert site.hub.triggers() == [n for n, _, _ in site.gateway.verdicts()]


def test_a_broker_that_forgets_everything_loses_nothing(site: Site) -> None:
    """The broker ends in the midst of it all and begins anew: what was on its way is sent again."""
    with site.gateway.inside():
        assert site.hub.await_that(lambda: len(site.hub.triggers()) > 30)
        site.broker.restart()
        before = len(site.hub.states)
        assert site.hub.await_that(lambda: len(site.hub.states) > before + 2)
        assert site.hub.await_that(lambda: site.hub.missing(site.hub.states[-1]) == {})

    assert held(site.gateway) == 0
    assert site.hub.triggers() == [n for n, _, _ in site.gateway.verdicts()]
