"""What hostile messages do to a hub: they are counted by kind, told as an event, and change nothing else."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from cloud_hub.storage.schema import cursors, records, refusals, states, verdicts
from cloud_hub.telemetry.events import recent_events
from edge_protocol import batch as batches
from edge_protocol import envelope, messages, topics
from edge_protocol.codes import Stream
from edge_protocol.messages import MAX_MESSAGE_BYTES
from tests.simulators import GatewaySimulator

VERDICTS = Stream.VERDICTS


def bad_messages(gateway: GatewaySimulator) -> dict[str, tuple[str, bytes, str]]:
    """Topic and payload of messages that must not be taken, and the kind they are counted as."""
    topic, good = gateway.seal(gateway.batch(VERDICTS, 1, 10))
    body = batches.encode(gateway.batch(VERDICTS, 1, 10))
    stranger = ed25519.Ed25519PrivateKey.generate()
    state, events = topics.up("press-1", "state"), topics.up("press-1", "events")
    foreign = messages.encode(msgspec.structs.replace(gateway.state(), gateway="press-2"))
    bent = bytearray(good)
    bent[-1] ^= 1
    return {
        "oversized": (topic, b"\x94" + bytes(MAX_MESSAGE_BYTES), "oversized"),
        "empty": (topic, b"", "envelope"),
        "garbage": (topic, b"\xff" * 100, "envelope"),
        "cut": (topic, good[: len(good) // 2], "envelope"),
        "one bit of the signature": (topic, bytes(bent), "signature"),
        "signed by a stranger": (topic, envelope.seal(topic, body, stranger), "signature"),
        "played back on another stream": (topics.up("press-1", "events"), good, "signature"),
        "a body that is no batch": (topic, envelope.seal(topic, b"hello", gateway.key), "body"),
        "a bomb": (topic, envelope.seal(topic, zstd_bomb(), gateway.key), "body"),
        "another gateway's batch": (topic, envelope.seal(topic, foreign_batch(gateway), gateway.key), "mismatch"),
        "another stream's batch": (events, envelope.seal(events, body, gateway.key), "mismatch"),
        "another gateway's state": (state, envelope.seal(state, foreign, gateway.key), "mismatch"),
        "a state that is none": (state, envelope.seal(state, b"\x80", gateway.key), "body"),
        "a gateway nobody enrolled": (topics.up("press-9", "verdicts"), good, "not-enrolled"),
        "a wrong shard": (f"lineside/v1/g/{wrong_shard()}/press-1/up/verdicts", good, "topic"),
        "a reserved name": (topics.up("press-1", "object"), good, "unanswered"),
        "a hint that is none": (topics.up("press-1", "link"), b"\x01", "body"),
    }  # fmt: skip


def zstd_bomb() -> bytes:
    """Few bytes that announce many."""
    import zstandard

    return zstandard.ZstdCompressor(level=19).compress(bytes(50_000_000))


def foreign_batch(gateway: GatewaySimulator) -> bytes:
    """A batch of press-2, as press-1 might sign it."""
    return batches.encode(msgspec.structs.replace(gateway.batch(VERDICTS, 1, 10), gateway="press-2"))


def wrong_shard() -> str:
    """A shard that press-1 is not in."""
    return f"{(int(topics.shard_of('press-1'), 16) + 1) % 256:02x}"


NAMES = (
    "oversized",
    "empty",
    "garbage",
    "cut",
    "one bit of the signature",
    "signed by a stranger",
    "played back on another stream",
    "a body that is no batch",
    "a bomb",
    "another gateway's batch",
    "another stream's batch",
    "another gateway's state",
    "a state that is none",
    "a gateway nobody enrolled",
    "a wrong shard",
    "a reserved name",
    "a hint that is none",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_message_is_counted_and_changes_nothing(bench, name: str) -> None:
    """
    It is refused by kind, the receiver goes on, and what honest gateways send is archived and answered as before.
    """
    gateway = bench.gateway()
    gateway.judge(10)
    topic, payload, kind = bad_messages(gateway)[name]

    bench.receiver.on_message(topic, payload)
    bench.work()

    assert bench.tally.values()[f"messages_refused_{kind}"] == 1
    with bench.database.reading() as connection:
        for table in (verdicts, records, states, cursors):
            assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 0
    gateway.send_held()
    bench.work()
    assert gateway.stock(VERDICTS).held == ()


def test_every_bad_message_is_named_in_the_table(bench) -> None:
    """
    The list of names is the list of messages.
    """
    gateway = bench.gateway()
    gateway.judge(10)

    assert tuple(bad_messages(gateway)) == NAMES


def test_what_was_refused_is_an_event_of_its_gateway(bench) -> None:
    """
    Somebody who looks at a gateway sees what was refused in its name, counted; rows do not grow with the attack.
    """
    gateway = bench.gateway()

    for _ in range(50):
        bench.receiver.on_message(topics.up("press-1", "verdicts"), b"garbage")
        bench.receiver.on_message(topics.up("nobody", "verdicts"), b"garbage")
        bench.work()

    with bench.database.reading() as connection:
        rows = connection.execute(select(refusals.c.gateway, refusals.c.kind, refusals.c.n)).all()
        events = recent_events(connection, gateway.name)
    assert sorted(map(tuple, rows)) == [("", "not-enrolled", 50), ("press-1", "envelope", 50)]
    assert [event.kind for event in events] == ["refused"]
    assert "50 message(s)" in events[0].text


def test_a_revoked_key_says_nothing_any_more(bench) -> None:
    """
    From the moment a gateway is replaced, what its old key signs is refused and its new key is heard.
    """
    old = bench.gateway()
    old.judge(10)
    new_key = bench.enrol("press-1", replace=True)
    new = bench.gateway(client="new", key=new_key)
    new.judge(10)

    old.send_held()
    bench.work()
    refused = bench.tally.values()["messages_refused_signature"]
    new.send_held()
    bench.work()

    assert refused == 1
    assert new.stock(VERDICTS).held == ()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_no_bytes_stop_the_receiver(bench, data: st.DataObject) -> None:
    """
    Whatever is on whatever topic, the receiver takes the next message.
    """
    gateway = bench.gateway() if "press-1" not in bench.broker._links else None
    names = st.sampled_from(["verdicts", "events", "state", "link", "want", "x"])
    topic = data.draw(st.one_of(st.text(max_size=80), names.map(lambda name: topics.up("press-1", name))))
    payload = data.draw(st.binary(max_size=300))

    bench.receiver.on_message(topic, payload)
    bench.work()

    assert gateway is None or gateway.receipts == []
