"""What MqttLink does with brokers that no real one should be like."""

import queue
import socket
import threading
from pathlib import Path

import pytest

from edge_protocol import mqtt
from edge_protocol.mqtt import MqttLink
from tests.edge_protocol.link_contract import PATIENCE_S, eventually
from tests.edge_protocol.scripted_broker import CONNACK_5, CONNACK_311, ScriptedBroker, babble, refuse, welcome

QUICK_S = (0.01, 0.05)


@pytest.fixture
def broker():
    """Makes scripted brokers and closes them at the end."""
    brokers = []

    def make(*scripts):
        brokers.append(ScriptedBroker(*scripts))
        return brokers[-1]

    yield make
    for one in brokers:
        one.close()


@pytest.fixture
def connect():
    """Starts links and closes them at the end; gives the link once it is connected."""
    links = []

    def make(url: str, **options) -> MqttLink:
        link = MqttLink(url, "gw-1", backoff_s=QUICK_S, **options)
        links.append(link)
        connected = threading.Event()
        link.start(lambda *_: None, connected.set)
        assert connected.wait(PATIENCE_S)
        return link

    yield make
    for link in links:
        link.close()


def test_the_window_is_no_larger_than_the_brokers(broker, connect):
    """A broker that announces Receive Maximum 3 gets 3 unanswered messages, however large our own window is."""
    silent = broker(welcome(bytes.fromhex("2006000003210003")))
    link = connect(silent.url, window=16)

    taken = [link.publish("a", b"") for _ in range(5)]

    assert taken == [True, True, True, False, False]


def test_messages_above_the_brokers_limit_are_refused_here(broker, connect):
    """A message above the broker's Maximum Packet Size is refused and counted: sending it would end the connection."""
    narrow = broker(welcome(bytes.fromhex("200800000527") + (4096).to_bytes(4), puback=b""))
    link = connect(narrow.url)

    taken = link.publish("a", bytes(4096)), link.publish("a", bytes(100))

    assert taken == (False, True)
    assert link.denied == 1
    assert link.connected


@pytest.mark.parametrize("reason", [0x80, 0x87, 0x97])
def test_denied_messages_are_counted_and_free_their_place(broker, connect, reason):
    """A PUBACK with a reason of failure is not a delivery, and its place in the window is free again."""
    denying = broker(welcome(puback=bytes([reason, 0])))
    link = connect(denying.url, window=1)

    for _ in range(3):
        eventually(lambda: link.publish("a", b""))

    eventually(lambda: link.denied == 3)
    assert link.connected


@pytest.mark.parametrize(
    "refusal",
    [bytes.fromhex("20020001"), bytes.fromhex("2003008400"), b""],
    ids=["3.1.1 code 1", "5 reason 0x84", "closed"],
)
def test_a_broker_that_refuses_5_is_asked_in_311(broker, connect, refusal):
    """However a broker refuses MQTT 5, the next connection speaks 3.1.1, without waiting for the back-off."""
    old = broker(refuse(refusal), welcome(CONNACK_311))

    link = connect(old.url)

    assert [old.hear(1)[6], old.hear(1)[6]] == [5, 4]
    assert link.version == "3.1.1"


def test_each_new_connection_begins_with_5(broker, connect):
    """A link that once had to speak 3.1.1 does not for ever: a broker may have been closing then."""
    upgraded = broker(refuse(b""), refuse(CONNACK_311), welcome())

    link = connect(upgraded.url)

    assert [upgraded.hear(1)[6] for _ in range(3)] == [5, 4, 5]
    eventually(lambda: link.version == "5")


def test_a_session_is_asked_to_be_kept(broker, connect):
    """Neither version wipes the session at the broker; 5 says for how long it is to be kept and what we can take."""
    five, three = broker(welcome()), broker(refuse(b""), welcome(CONNACK_311))

    connect(five.url)
    connect(three.url)

    asked = five.hear(1)
    assert asked[7] & 0b10 == 0
    assert bytes([17]) + mqtt.SESSION_EXPIRY_S.to_bytes(4) in asked
    assert int.from_bytes(asked[8:10]) == mqtt.KEEPALIVE_S
    three.hear(1)
    assert three.hear(1)[7] & 0b10 == 0


HOSTILE = {
    "reserved packet": bytes.fromhex("0000"),
    "second connack of nonsense": bytes.fromhex("2002ffff"),
    "endless length": bytes.fromhex("30ffffffffff"),
    "publish without topic": bytes.fromhex("3000"),
    "publish with a lying topic length": bytes.fromhex("3004ffff6161"),
    "publish with a topic that is no text": bytes.fromhex("300500 02 ff fe 00"),
    "publish with lying properties": bytes.fromhex("3005000161ff01"),
    "puback of nothing": bytes.fromhex("4000"),
    "puback of a message never sent": bytes.fromhex("40020001"),
    "puback with an unknown reason": bytes.fromhex("40040001fe00"),
    "suback of nothing": bytes.fromhex("9000"),
    "auth": bytes.fromhex("f00118"),
    "disconnect with an unknown reason": bytes.fromhex("e001fe"),
    "pubrel of a message never sent": bytes.fromhex("62020001"),
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_nonsense_ends_a_connection_and_never_the_link(broker, raw):
    """Whatever a broker sends before it closes, the link comes back and hears an honest message."""
    hostile = broker(refuse(CONNACK_5 + raw), babble(bytes.fromhex("30050001610021")))
    heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
    link = MqttLink(hostile.url, "gw-1", backoff_s=QUICK_S)

    link.start(lambda *message: heard.put(message), lambda: None)

    eventually(lambda: heard.get(timeout=PATIENCE_S) == ("a", b"!"))
    link.close()


def test_a_packet_that_would_fill_the_memory_ends_the_connection(broker, connect):
    """A broker that announces 200 MB is left long before it has sent them."""
    sent_bytes = []
    flooding = broker(_flood(bytes.fromhex("3080848a6000016100"), sent_bytes), welcome())
    connect(flooding.url)

    assert [flooding.hear(1)[6] for _ in range(2)] == [5, 5]
    assert sum(sent_bytes) < 100_000_000


def _flood(head: bytes, sent_bytes: list[int]):
    def script(conversation) -> None:
        next(conversation.packets())
        conversation.say(CONNACK_5 + head)
        while True:
            conversation.say(bytes(65536))
            sent_bytes.append(65536)

    return script


def test_nothing_is_sent_twice_by_itself(broker, connect):
    """A message that was on its way when the connection ended is the caller's to send again: paho keeps none."""
    lossy = broker(_take_one_and_close, welcome(puback=b""))
    link = connect(lossy.url)

    assert link.publish("first", b"")
    assert lossy.hear(3)[2:7] == b"first"
    eventually(lambda: not link.connected)
    eventually(lambda: link.publish("second", b""))

    assert lossy.hear(3)[2:8] == b"second"


def _take_one_and_close(conversation) -> None:
    for kind, _ in conversation.packets():
        if kind == 1:
            conversation.say(CONNACK_5)
        if kind == 3:
            return


def test_publishers_and_handlers_do_not_lock_each_other_out(broker):
    """Two threads and a handler that publish at once all get on."""
    echoing = broker(_answer_and_echo)
    done, count = threading.Event(), iter(range(10_000))
    link = MqttLink(echoing.url, "gw-1", window=4, backoff_s=QUICK_S)

    def handle(_topic: str, _payload: bytes) -> None:
        link.publish("from-handler", b"")
        if next(count) > 300:
            done.set()

    def press() -> None:
        while not done.is_set():
            link.publish("from-thread", b"")
            done.wait(0.0005)

    link.start(handle, lambda: None)
    threads = [threading.Thread(target=press) for _ in range(2)]
    for thread in threads:
        thread.start()

    assert done.wait(PATIENCE_S)
    for thread in threads:
        thread.join()
    link.close()


def _answer_and_echo(conversation) -> None:
    for kind, rest in conversation.packets():
        if kind == 1:
            conversation.say(CONNACK_5)
        elif kind == 3:
            end = 2 + int.from_bytes(rest[:2])
            conversation.say(bytes([0x40, 2]) + rest[end : end + 2] + bytes.fromhex("3005000161 00 21"))


def test_a_dead_peer_is_noticed_while_sending(broker, connect):
    """The socket gives up on unanswered bytes by itself, and small answers do not wait for each other."""
    link = connect(broker(welcome()).url)

    sock = link._session._client.socket()

    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 2 * mqtt.KEEPALIVE_S * 1000
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_broker_that_stalls_is_left(monkeypatch, broker, connect):
    """A broker that takes messages and answers none is met anew instead of being waited for."""
    monkeypatch.setattr(mqtt, "_STALL_S", 0.05)
    monkeypatch.setattr(mqtt, "_TICK_S", 0.05)
    stalling = broker(welcome(), welcome(puback=b""))
    link = connect(stalling.url, window=1)
    stalling.hear(1)

    assert link.publish("a", b"")

    stalling.hear(1)
    eventually(lambda: link.publish("a", b""))


@pytest.mark.parametrize("failures", [0, 1, 5, 6, 40, 10**6])
def test_the_back_off_doubles_up_to_its_end_with_jitter(failures):
    """The wait after n failures lies between half and the whole of min(60, 2^n) seconds and is not always the same."""
    whole_s = min(60.0, 2.0 ** min(failures, 32))

    waits = {mqtt._delay_s(failures, (1.0, 60.0)) for _ in range(50)}

    assert all(whole_s / 2 <= wait <= whole_s for wait in waits)
    assert len(waits) > 1


def test_a_link_is_started_once(broker, connect):
    """A second start would make two threads fight over one client id."""
    link = connect(broker(welcome()).url)

    with pytest.raises(RuntimeError, match="once"):
        link.start(lambda *_: None, lambda: None)


def sockets() -> set[str]:
    """Every socket that this process has open."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:  # the listing's own
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def test_an_ended_connection_keeps_no_socket(broker, connect):
    """Whatever a connection had open is closed when it ends, and does not wait for the collector of garbage."""
    before = sockets()
    fleeting, steady = broker(refuse(CONNACK_5), welcome()), broker(welcome())
    links = [connect(fleeting.url), connect(steady.url)]

    for link in links:
        link.close()
    for one in (fleeting, steady):
        one.close()

    eventually(lambda: sockets() <= before)
    assert not any(link.publish("a", b"") for link in links)
