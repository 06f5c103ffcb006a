from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.clock import BUILD_US, FixedClock
from edge_agent.judgement import Judgement
from edge_agent.store import Store
from edge_agent.telemetry.outbox import Outbox
from edge_agent.telemetry.uplink import Uplink
from edge_protocol import batch, envelope, messages, ranges, topics
from edge_protocol.codes import Stream
from edge_protocol.loopback import LoopbackBroker
from edge_protocol.messages import Fault, GatewayState, Metrics, Place, Receipt
from tests.edge_agent.telemetry.fake_hub import FakeHub

Judge = Callable[..., list[Judgement]]

HUB_KEY = Ed25519PrivateKey.generate()
GATEWAY_KEY = Ed25519PrivateKey.generate()
GATEWAY = "press-1"
RECEIPT = topics.down(GATEWAY, "receipt")
SECOND_US = 1_000_000


class Hub:
    """A hub on the other end of the broker: verifies, archives and signs receipts, unless it is deaf."""

    def __init__(self, broker: LoopbackBroker) -> None:
        self.archive = FakeHub()
        self.states: list[GatewayState] = []
        self.batches: list[batch.Batch] = []
        self.deaf = False
        self.mute = False
        self.link = broker.link("hub")
        self.link.start(self._take, lambda: None)
        self.link.subscribe(topics.ALL_UP)

    def say(self, payload: bytes) -> None:
        """Send anything where receipts are expected."""
        self.link.publish(RECEIPT, payload)

    def _take(self, topic: str, payload: bytes) -> None:
        keys = {envelope.key_id(GATEWAY_KEY.public_key()): GATEWAY_KEY.public_key()}
        body = envelope.unseal(topic, payload, keys).body
        if topic == topics.up(GATEWAY, "state"):
            self.states.append(messages.decode(GatewayState, body))
        elif not self.deaf:
            self.batches.append(batch.decode(body))
            receipt = self.archive.receive(body)
            if not self.mute:
                self.say(sealed(receipt))


class Site:
    """A gateway's uplink with its broker, its hub and a clock that tests move."""

    def __init__(self, store: Store, outbox: Outbox, clock: FixedClock) -> None:
        self.broker = LoopbackBroker()
        self.hub = Hub(self.broker)
        self.outbox = outbox
        self.clock = clock
        self.link = self.broker.link(GATEWAY)
        self.uplink = Uplink(
            outbox,
            self.link,
            GATEWAY,
            GATEWAY_KEY,
            {envelope.key_id(HUB_KEY.public_key()): HUB_KEY.public_key()},
            clock,
            state=self._state,
            linger_s=5,
            batch_rows=10,
            resend_s=30,
            state_s=5,
            window=4,
            chance=lambda: 0.0,
        )
        self.uplink.start()

    def run(self, seconds: float = 0.0) -> None:
        """Let time pass, then step until there is nothing to do."""
        self.clock.advance(round(seconds * SECOND_US))
        for _ in range(1000):
            if not self.uplink.step():
                return
        pytest.fail("the uplink never rests")

    @property
    def held(self) -> int:
        """Rows without receipt."""
        return sum(ranges.count(account.held) for account in self.outbox.accounts())

    def _state(self) -> GatewayState:
        return GatewayState(
            gateway=GATEWAY, agent_version="1", place=Place(), time=self.clock.time(), sent_us=self.clock.wall_us(),
            streams=self.outbox.accounts(),
        )  # fmt: skip


def sealed(receipt: Receipt, key: Ed25519PrivateKey = HUB_KEY, topic: str = RECEIPT) -> bytes:
    """A receipt as it is sent."""
    return envelope.seal(topic, messages.encode(receipt), key)


@pytest.fixture
def site(store: Store, outbox: Outbox, clock: FixedClock) -> Iterator[Site]:
    """A connected gateway with nothing to send."""
    site = Site(store, outbox, clock)
    site.run()
    yield site
    site.uplink.close()


def test_what_waits_is_sent_and_settled(site: Site, judge: Judge):
    """
    Everything in the outbox reaches the hub once and is let go of.
    """
    site.outbox.append(judge(95), [(Stream.METRICS, 1, Metrics(values={}))])

    site.run()
    site.run(6)

    assert site.held == 0
    assert site.hub.archive.has(site.outbox.accounts()[0].epoch, "verdicts") == ((1, 95),)
    assert (site.uplink.tally.resent, site.uplink.tally.refused) == (0, 0)


def test_a_batch_waits_until_it_is_full_or_old(site: Site, judge: Judge):
    """
    Few verdicts wait for more of them, but no longer than they may linger.
    """
    site.outbox.append(judge(3))
    site.run()
    site.run(4)
    assert site.hub.batches == []
    site.outbox.append(judge(3))

    site.run(1.1)

    assert [len(each.rows) for each in site.hub.batches] == [6]


def test_an_event_does_not_wait(site: Site):
    """
    Events are sent with the next step, alone if need be.
    """
    site.outbox.append([], [(Stream.EVENTS, 1, Fault(part="x", name="x", reason="x", active=True))])

    site.run()

    assert [each.stream for each in site.hub.batches] == ["events"]


def test_nothing_lingers_when_the_agent_stops(site: Site, judge: Judge):
    """
    In a hurry everything goes at once.
    """
    site.outbox.append(judge(2))
    site.uplink.hurry()

    site.run()

    assert site.held == 0


def test_a_broker_that_took_a_batch_proves_nothing(site: Site, judge: Judge):
    """
    What the broker acknowledged and the hub did not stays, and is sent again when its time is up, not before.
    """
    site.hub.deaf = True
    site.outbox.append(judge(10))
    site.run()
    assert site.held == 10
    site.hub.deaf = False
    site.run(29)
    assert site.held == 10

    site.run(2)

    assert site.held == 0
    assert site.uplink.tally.resent == 1


def test_a_lost_receipt_costs_a_message_and_no_row(site: Site, judge: Judge):
    """
    When a receipt is lost the batch comes again, is archived once, and settles.
    """
    site.hub.mute = True
    site.outbox.append(judge(10))
    site.run()
    site.hub.mute = False

    site.run(31)

    assert site.held == 0
    assert len(site.hub.batches) == 2
    assert batch.encode(site.hub.batches[0]) == batch.encode(site.hub.batches[1])
    assert len(site.hub.archive.contents()) == 10


def test_a_new_connection_does_not_wait_for_the_old_one(site: Site, judge: Judge):
    """
    After a cut, what was on its way is sent again at once, and the state is said anew.
    """
    site.hub.deaf = True
    site.outbox.append(judge(10))
    site.run()
    site.broker.cut(GATEWAY)
    site.outbox.append(judge(10))
    site.run(10)
    states = len(site.hub.states)
    site.hub.deaf = False

    site.broker.restore(GATEWAY)
    site.run()

    assert site.held == 0
    assert len(site.hub.states) == states + 1


def test_no_more_is_on_its_way_than_the_window(site: Site, judge: Judge):
    """
    Without receipts a backlog is not poured into the broker.
    """
    site.hub.mute = True
    site.outbox.append(judge(200))

    site.run()

    assert len(site.hub.batches) == 4
    assert len({each.rows[0].seq for each in site.hub.batches}) == 4


def test_a_backlog_drains_by_its_receipts(site: Site, judge: Judge):
    """
    Each receipt makes room for the next batch, without waiting for time to pass.
    """
    site.broker.cut(GATEWAY)
    for _ in range(20):
        site.outbox.append(judge(50))
    site.run()

    site.broker.restore(GATEWAY)
    site.run()

    assert site.held == 0
    assert len(site.hub.batches) == 100


def test_a_forged_receipt_changes_nothing(site: Site, judge: Judge):
    """
    Neither another key, nor another topic, nor another gateway's receipt, nor garbage lets a row go.
    """
    site.hub.deaf = True
    site.outbox.append(judge(10))
    site.run()
    receipt = Receipt(
        gateway=GATEWAY, epoch=site.outbox.accounts()[0].epoch, stream="verdicts", committed=((1, 10),),
        hub_us=BUILD_US * 2,
    )  # fmt: skip
    other = topics.down("press-2", "receipt")
    forged = (
        sealed(receipt, Ed25519PrivateKey.generate()),
        sealed(receipt, topic=other),
        sealed(Receipt(gateway="press-2", epoch=receipt.epoch, stream="verdicts", committed=((1, 10),))),
        envelope.seal(RECEIPT, b"\xc1", HUB_KEY),
        sealed(receipt)[:-1],
        b"",
        b"\x00" * 300_000,
    )

    for payload in forged[:-1]:
        site.hub.say(payload)
    site.uplink._on_message(RECEIPT, forged[-1])
    site.run()

    assert site.held == 10
    assert site.uplink.tally.refused == len(forged)
    assert site.clock.floor_us < BUILD_US * 2
    site.hub.say(sealed(receipt))
    site.run()
    assert site.held == 0


def test_a_receipt_for_a_part_sends_the_rest_again(site: Site, judge: Judge):
    """
    Of a batch that was committed in part, only the other part is sent again.
    """
    site.hub.deaf = True
    site.outbox.append(judge(10))
    site.run()
    epoch = site.outbox.accounts()[0].epoch
    site.hub.say(
        sealed(
            Receipt(gateway=GATEWAY, epoch=epoch, stream="verdicts", committed=((1, 4), (7, 10)), answers=((1, 10),))
        )
    )
    site.run()
    site.hub.deaf = False

    site.run(31)
    site.run(6)

    assert [(each.rows[0].seq, each.rows[-1].seq) for each in site.hub.batches] == [(5, 6)]
    assert site.held == 0


def test_the_state_is_signed_retained_and_repeated(site: Site, judge: Judge):
    """
    Whoever connects later learns how the gateway stands, from the gateway itself.
    """
    site.outbox.append(judge(3))
    site.run(5.1)

    late = Hub(site.broker)

    assert [line.produced for line in late.states[0].streams] == [3]
    assert len(site.hub.states) == 2


def test_a_receipt_carries_the_hubs_time(site: Site, judge: Judge):
    """
    What the hub signed has passed: the clock's floor rises with it.
    """
    later_us = site.clock.wall_us() + 40 * SECOND_US

    site.hub.say(sealed(Receipt(gateway=GATEWAY, epoch=1, stream="verdicts", hub_us=later_us)))
    site.run()

    assert site.clock.floor_us == later_us


def test_a_disk_that_is_away_stops_nothing_for_good(site: Site, store: Store, judge: Judge):
    """
    When the outbox cannot be read the uplink rests for a moment, and goes on by itself.
    """
    site.outbox.append(judge(10))
    path = store.path
    connection = store._connection
    assert connection is not None
    connection.close()
    away = path.rename(path.with_name("away"))
    path.mkdir()
    store._connection = None

    assert not site.uplink.step()
    path.rmdir()
    away.rename(path)
    site.run(0.5)
    assert site.hub.batches == []

    site.run(0.6)
    assert site.held == 0


def test_who_waits_is_woken_by_a_receipt(site: Site):
    """
    A message from the hub ends a wait.
    """
    site.hub.say(b"")

    site.uplink.wait(30.0)

    assert site.uplink.step()


def test_others_hear_what_is_for_them(site: Site) -> None:
    """A listener's topic reaches it and nobody else; each connection is told; what it sends is signed."""
    heard: list[bytes] = []
    connected: list[bool] = []
    link = site.broker.link("other")
    uplink = Uplink(
        site.outbox, link, "other", GATEWAY_KEY, {}, site.clock, state=site._state
    )  # fmt: skip
    topic = topics.down("other", "block")

    uplink.start({topic: heard.append}, lambda: connected.append(True))
    for name in (topic, topics.down("other", "desired"), topics.down("other", "receipt")):
        site.hub.link.publish(name, b"payload")
    site.hub.deaf = True
    ears: list[tuple[str, bytes]] = []
    listener = site.broker.link("listener")
    listener.start(lambda name, payload: ears.append((name, payload)), lambda: None)
    listener.subscribe(topics.up("other", "want"))
    sent = uplink.send("want", messages.Want(sha256="ab" * 32, offset=0, length=10))
    site.broker.cut("other")
    unsent = uplink.send("want", messages.Want(sha256="ab" * 32, offset=0, length=10))
    site.broker.restore("other")

    assert heard == [b"payload"]
    assert connected == [True, True]
    assert (sent, unsent) == (True, False)
    ((name, payload),) = ears
    keys = {envelope.key_id(GATEWAY_KEY.public_key()): GATEWAY_KEY.public_key()}
    assert messages.decode(messages.Want, envelope.unseal(name, payload, keys).body).length == 10
