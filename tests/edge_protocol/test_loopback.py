"""What the broker in memory does beyond the contract: everything at once, and in order."""

from edge_protocol.loopback import LoopbackBroker


def _link(broker: LoopbackBroker, name: str, *filters: str, will: tuple[str, bytes] | None = None):
    link, heard = broker.link(name, will), []
    for topic_filter in filters:
        link.subscribe(topic_filter)
    link.start(lambda topic, payload: heard.append((topic, payload)), lambda: heard.append(("connected", b"")))
    return link, heard


def test_publish_returns_when_all_have_heard():
    """Nothing is left to wait for when `publish` returns: tests on this broker need no patience."""
    broker = LoopbackBroker()
    _, heard = _link(broker, "hearer", "a")
    sayer, _ = _link(broker, "sayer")

    sayer.publish("a", b"1")

    assert heard == [("connected", b""), ("a", b"1")]


def test_what_a_handler_sends_comes_after_what_was_sent_before():
    """Two hearers get the same order, even when one of them answers while it is being called."""
    broker = LoopbackBroker()
    _, witness = _link(broker, "a-witness", "#")
    answerer = broker.link("answerer")
    answerer.subscribe("question")
    answerer.start(lambda _topic, _payload: answerer.publish("answer", b"") and None, lambda: None)
    _, late_witness = _link(broker, "z-witness", "#")
    sayer, _ = _link(broker, "sayer")

    sayer.publish("question", b"")

    assert [topic for topic, _ in witness] == ["connected", "question", "answer"]
    assert witness == late_witness


def test_no_handler_is_called_inside_itself():
    """A handler that sends to itself is called again after it has returned, as on a network thread."""
    broker, trace = LoopbackBroker(), []
    link = broker.link("echo")
    link.subscribe("#")

    def handle(_topic: str, payload: bytes) -> None:
        trace.append("in")
        if payload:
            link.publish("a", payload[1:])
        trace.append("out")

    link.start(handle, lambda: None)
    link.publish("a", b"12")

    assert trace == ["in", "out"] * 3


def test_a_link_that_is_away_gets_nothing_kept():
    """What is sent to a severed link is lost: who needs it must send it again."""
    broker = LoopbackBroker()
    _, heard = _link(broker, "hearer", "a")
    sayer, _ = _link(broker, "sayer")

    broker.cut("hearer")
    assert sayer.publish("a", b"")
    broker.restore("hearer")

    assert heard == [("connected", b"")] * 2


def test_a_link_cut_before_its_start_connects_on_restore():
    """A gateway may start while its network is away."""
    broker = LoopbackBroker()
    broker.cut("gw")
    link, heard = _link(broker, "gw")
    assert not link.connected

    broker.restore("gw")

    assert link.connected
    assert heard == [("connected", b"")]


def test_a_second_link_takes_the_id_from_the_first():
    """As on a real broker: the elder is dropped without goodbye, and its will is sent."""
    broker = LoopbackBroker()
    _, heard = _link(broker, "witness", "will")
    elder, _ = _link(broker, "gw", will=("will", b"gone"))

    younger, _ = _link(broker, "gw")

    assert (elder.connected, younger.connected) == (False, True)
    assert heard[-1] == ("will", b"gone")


def test_a_restarted_broker_has_forgotten_the_retained():
    """The embedded broker lives in memory, and so does its twin."""
    broker = LoopbackBroker()
    sayer, _ = _link(broker, "sayer")
    sayer.publish("a", b"1", retain=True)

    broker.restart()

    assert _link(broker, "late", "a")[1] == [("connected", b"")]
    assert sayer.connected


def test_a_frozen_broker_sends_nothing_until_it_thaws():
    """Deliveries and answers wait, none is lost."""
    broker = LoopbackBroker()
    _, heard = _link(broker, "hearer", "a")
    sayer, _ = _link(broker, "sayer")

    broker.freeze()
    taken = [sayer.publish("a", bytes([n])) for n in range(20)]
    before = list(heard)
    broker.thaw()

    assert taken == [True] * 16 + [False] * 4
    assert before == [("connected", b"")]
    assert heard[1:] == [("a", bytes([n])) for n in range(16)]
