"""States and hints: what a gateway says of itself, and what it is told when it knows too little."""

from sqlalchemy import select

from cloud_hub.storage.schema import gateways, states
from edge_protocol import envelope, messages, topics
from edge_protocol.codes import Stream
from edge_protocol.messages import Link

VERDICTS = Stream.VERDICTS


def test_a_restored_disk_hears_that_the_hub_is_ahead(bench) -> None:
    """
    A state that knows less than the hub is answered with all the hub has, and with nothing to delete.
    """
    key = bench.enrol("press-1")
    gateway = bench.gateway(key=key)
    gateway.judge(100)
    gateway.send_held()
    bench.work()
    restored = bench.gateway(client="restored", key=key)
    restored.judge(40, verdict=1)
    restored.run = 2

    restored.send_state()
    bench.work()

    assert restored.receipts[-1].committed == ((1, 100),)
    assert restored.stock(VERDICTS).held == ((1, 40),)


def test_a_state_that_is_up_to_date_is_not_answered(bench) -> None:
    """
    States come every few seconds from everybody: only those that do not know something are told it.
    """
    gateway = bench.gateway()
    gateway.judge(10)
    gateway.send_held()
    bench.work()
    before = len(gateway.receipts)

    gateway.send_state()
    bench.work()

    assert len(gateway.receipts) == before


def test_an_older_state_of_the_same_run_is_not_taken(bench) -> None:
    """
    A state that was delayed or played back does not replace a later one.
    """
    gateway = bench.gateway()
    topic = topics.up("press-1", "state")
    older = envelope.seal(topic, messages.encode(gateway.state()), gateway.key)
    gateway.judge(5)
    gateway.send_state()
    bench.work()

    gateway.link.publish(topic, older)
    bench.work()

    with bench.database.reading() as connection:
        body = connection.execute(select(states.c.body)).scalar_one()
    assert messages.decode(messages.GatewayState, body).streams[0].produced == 5


def test_the_last_will_is_a_hint(bench) -> None:
    """
    Whether a gateway says it is online is noted, unsigned as it is; that it was seen needs a signature.
    """
    gateway = bench.gateway()

    gateway.link.publish(topics.up("press-1", "link"), messages.encode(Link(online=True)))
    bench.work()
    with bench.database.reading() as connection:
        hinted = connection.execute(select(gateways.c.link_online, gateways.c.last_seen_us)).one()
    gateway.send_state()
    bench.work()

    with bench.database.reading() as connection:
        seen_us = connection.execute(select(gateways.c.last_seen_us)).scalar_one()
    assert tuple(hinted) == (True, 0)
    assert seen_us == bench.clock.wall_us()
