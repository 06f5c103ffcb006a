"""The contract of a link as tests: a class to inherit, with a `rig` fixture that makes links of one kind."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol
from uuid import uuid4

import pytest

from edge_protocol.link import EVERYTHING, Hearing, Link
from edge_protocol.messages import MAX_MESSAGE_BYTES

PATIENCE_S = 10.0


class Rig(Protocol):
    """Makes links of one kind and breaks what is behind them."""

    def link(
        self, client_id: str, will: tuple[str, bytes] | None = None, window: int = 16, hear: Hearing = EVERYTHING
    ) -> Link:
        """A link, not yet started."""

    def cut(self, client_id: str) -> None:
        """Break the network to one link."""

    def restore(self, client_id: str) -> None:
        """Mend it."""

    def freeze(self, client_id: str) -> None:
        """Let the broker's answers to one link stop."""

    def thaw(self, client_id: str) -> None:
        """Let them come."""

    def restart(self) -> None:
        """End the broker and start it anew."""


class Party:
    """A started link, with what it heard and how often it connected."""

    def __init__(
        self,
        rig: Rig,
        *filters: str,
        will: tuple[str, bytes] | None = None,
        window: int = 16,
        hear: Hearing = EVERYTHING,
    ) -> None:
        self.id = f"party-{uuid4().hex[:8]}"
        self.link = rig.link(self.id, will, window, hear)
        self.heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.connects: queue.Queue[None] = queue.Queue()
        for topic_filter in filters:
            self.link.subscribe(topic_filter)
        self.link.start(lambda *message: self.heard.put(message), lambda: self.connects.put(None))
        self.connects.get(timeout=PATIENCE_S)

    def hear(self) -> tuple[str, bytes]:
        """The next message."""
        return self.heard.get(timeout=PATIENCE_S)

    def say(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish, as often as it takes for the window to have room."""
        eventually(lambda: self.link.publish(topic, payload, retain=retain))


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds; fail when it does not within `PATIENCE_S`."""
    end_s, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not condition():
        assert time.monotonic() < end_s, "waited in vain"
        pause.wait(0.01)


class LinkContract:
    """What every kind of link must do."""

    @pytest.fixture
    def root(self) -> str:
        """A part of the topic tree that is this test's alone."""
        return f"contract/{uuid4().hex[:8]}"

    @pytest.fixture
    def party(self, rig):
        """Makes parties and closes them at the end."""
        parties = []

        def make(*filters: str, **options: Any) -> Party:
            parties.append(Party(rig, *filters, **options))
            return parties[-1]

        yield make
        for one in parties:
            one.link.close()

    def test_messages_arrive_whole_and_in_order(self, party, root):
        """What is published arrives with its topic and its bytes, in the order of publishing."""
        hearer, sayer = party(f"{root}/#"), party()
        sent = [(f"{root}/{n % 3}", bytes([n, 0, 255])) for n in range(40)]

        for message in sent:
            sayer.say(*message)

        assert [hearer.hear() for _ in sent] == sent

    @pytest.mark.parametrize(
        ("pattern", "matching"),
        [
            ("{}/a/b", ["a/b"]),
            ("{}/+/b", ["a/b", "x/b"]),
            ("{}/a/#", ["a", "a/b", "a/b/c"]),
            ("{}/+/+", ["a/b", "x/b"]),
        ],
    )
    def test_filters_mean_what_mqtt_says(self, party, root, pattern, matching):
        """A link hears exactly the topics that its filter matches; `a/#` matches `a` itself too."""
        hearer, sayer = party(pattern.format(root), f"{root}-end"), party()

        for topic in ("a", "a/b", "a/b/c", "x/b", "z"):
            sayer.say(f"{root}/{topic}", b"")
        sayer.say(f"{root}-end", b"")

        expected = [f"{root}/{topic}" for topic in matching] + [f"{root}-end"]
        assert [hearer.hear()[0] for _ in expected] == expected

    def test_a_large_message_arrives_whole(self, party, root):
        """A message of the protocol's largest size passes."""
        hearer, sayer = party(root), party()
        payload = bytes(range(256)) * (MAX_MESSAGE_BYTES // 256)

        sayer.say(root, payload)

        assert hearer.hear() == (root, payload)

    def test_retained_messages_wait_for_the_late(self, party, root):
        """A retained message reaches who subscribes later, one that is not retained does not."""
        sayer = party()
        sayer.say(f"{root}/passing", b"1")
        sayer.say(f"{root}/kept", b"2", retain=True)
        sayer.say(f"{root}/kept", b"3", retain=True)
        witness = party(f"{root}/kept")
        assert witness.hear()[1] in (b"2", b"3")

        late = party(f"{root}/#")

        assert late.hear() == (f"{root}/kept", b"3")

    def test_who_wants_no_retained_message_hears_only_what_is_said_now(self, party, root):
        """A link that listens to the line takes nothing for new that was said before it came."""
        sayer = party()
        sayer.say(f"{root}/kept", b"1", retain=True)
        assert party(f"{root}/kept").hear()[1] == b"1"

        late = party(f"{root}/#", hear=Hearing(retained=False))
        sayer.say(f"{root}/kept", b"2", retain=True)

        assert late.hear() == (f"{root}/kept", b"2")

    def test_who_wants_nothing_kept_hears_nothing_from_while_it_was_away(self, rig, party, root):
        """A link that acts on what it hears is not told late what the broker held back for it."""
        sayer, hearer = party(), party(f"{root}/#", hear=Hearing(kept=False))
        witness = party(f"{root}/#")
        rig.cut(hearer.id)
        eventually(lambda: not hearer.link.connected)
        sayer.say(f"{root}/part", b"1")
        assert witness.hear()[1] == b"1"

        rig.restore(hearer.id)
        hearer.connects.get(timeout=PATIENCE_S)
        sayer.say(f"{root}/part", b"2")

        assert hearer.hear() == (f"{root}/part", b"2")

    def test_an_empty_retained_message_clears(self, party, root):
        """After an empty retained message there is nothing for the late to hear."""
        sayer, witness = party(), party(f"{root}/#")
        sayer.say(f"{root}/kept", b"1", retain=True)
        sayer.say(f"{root}/kept", b"", retain=True)
        assert [witness.hear()[1] for _ in range(2)] == [b"1", b""]

        late = party(f"{root}/#")
        sayer.say(f"{root}/end", b"")

        assert late.hear() == (f"{root}/end", b"")

    def test_the_will_is_sent_when_the_network_breaks(self, party, rig, root):
        """A connection that ends without goodbye leaves its will, and the will is retained."""
        hearer = party(f"{root}/#")
        frail = party(will=(f"{root}/will", b"gone"))

        rig.cut(frail.id)

        assert hearer.hear() == (f"{root}/will", b"gone")
        assert party(f"{root}/will").hear() == (f"{root}/will", b"gone")

    def test_no_will_is_sent_on_close(self, party, root):
        """A connection that is closed in order leaves no will; what was published before the close arrives."""
        hearer = party(f"{root}/#")
        leaver = party(will=(f"{root}/will", b"gone"))

        leaver.say(f"{root}/last", b"")
        leaver.link.close()
        party().say(f"{root}/end", b"")

        assert {hearer.hear()[0], hearer.hear()[0]} == {f"{root}/last", f"{root}/end"}

    def test_offline_links_refuse(self, party, rig, root):
        """Before the start, while cut off and after the close, `publish` takes nothing and `connected` says so."""
        unstarted = rig.link(f"unstarted-{uuid4().hex[:8]}")
        severed, closed = party(), party()

        rig.cut(severed.id)
        eventually(lambda: not severed.link.connected)
        closed.link.close()

        for link in (unstarted, severed.link, closed.link):
            assert not link.connected
            assert not link.publish(root, b"")

    def test_what_was_refused_offline_is_not_sent_later(self, party, rig, root):
        """A refused message is the caller's: the link keeps nothing of it."""
        hearer, severed = party(f"{root}/#"), party()
        rig.cut(severed.id)
        eventually(lambda: not severed.link.connected)
        assert not severed.link.publish(f"{root}/refused", b"")

        rig.restore(severed.id)
        severed.connects.get(timeout=PATIENCE_S)
        severed.say(f"{root}/end", b"")

        assert hearer.hear() == (f"{root}/end", b"")

    def test_a_full_window_refuses(self, party, rig, root):
        """A broker that answers nothing gets `window` messages and no more; when it answers there is room again."""
        hearer, sayer = party(f"{root}/#"), party(window=4)

        rig.freeze(sayer.id)
        taken = [sayer.link.publish(f"{root}/{n}", b"") for n in range(6)]
        rig.thaw(sayer.id)
        sayer.say(f"{root}/end", b"")

        assert taken == [True] * 4 + [False] * 2
        assert [hearer.hear()[0] for _ in range(5)] == [f"{root}/{n}" for n in (0, 1, 2, 3, "end")]

    def test_subscriptions_survive_a_cut(self, party, rig, root):
        """When the network is back, so are connection and subscriptions, and `on_connect` was called."""
        severed, sayer = party(f"{root}/a"), party()
        severed.link.subscribe(f"{root}/b")

        rig.cut(severed.id)
        eventually(lambda: not severed.link.connected)
        rig.restore(severed.id)
        severed.connects.get(timeout=PATIENCE_S)
        sayer.say(f"{root}/a", b"")
        sayer.say(f"{root}/b", b"")

        assert severed.link.connected
        assert [severed.hear()[0], severed.hear()[0]] == [f"{root}/a", f"{root}/b"]

    def test_subscriptions_survive_a_restart_of_the_broker(self, party, rig, root):
        """A broker that has forgotten everything is told the subscriptions again."""
        hearer, sayer = party(f"{root}/#"), party()

        rig.restart()
        for one in (hearer, sayer):
            one.connects.get(timeout=PATIENCE_S)
        sayer.say(f"{root}/a", b"1")

        assert hearer.hear() == (f"{root}/a", b"1")

    def test_on_connect_may_ask_and_be_answered(self, rig, root):
        """A question asked in `on_connect` cannot miss its answer: the subscriptions stand by then."""
        answerer = rig.link(f"answerer-{uuid4().hex[:8]}")
        answerer.subscribe(f"{root}/question")
        answerer.start(lambda _topic, payload: answerer.publish(f"{root}/answer", payload) and None, lambda: None)
        eventually(lambda: answerer.connected)
        asker = rig.link(f"asker-{uuid4().hex[:8]}")
        answers: queue.Queue[bytes] = queue.Queue()
        asker.subscribe(f"{root}/answer")

        asker.start(
            lambda _topic, payload: answers.put(payload), lambda: asker.publish(f"{root}/question", b"?") and None
        )

        assert answers.get(timeout=PATIENCE_S) == b"?"
        for link in (asker, answerer):
            link.close()

    def test_a_failing_handler_loses_its_message_only(self, rig, party, root):
        """A handler that raises stops neither the link nor the next message."""
        heard: queue.Queue[bytes] = queue.Queue()
        faulty = rig.link(f"faulty-{uuid4().hex[:8]}")
        faulty.subscribe(root)

        def handle(_topic: str, payload: bytes) -> None:
            if payload == b"bad":
                raise ZeroDivisionError
            heard.put(payload)

        faulty.start(handle, lambda: None)
        eventually(lambda: faulty.connected)
        sayer = party()
        sayer.say(root, b"bad")
        sayer.say(root, b"good")

        assert heard.get(timeout=PATIENCE_S) == b"good"
        assert faulty.connected
        faulty.close()

    @pytest.mark.parametrize("topic", ["", "a/+/b", "a/#", "a\0b", "x" * 600])
    def test_topics_that_are_none_are_refused_aloud(self, party, topic):
        """A topic that no broker takes is the caller's mistake, not a full window."""
        with pytest.raises(ValueError, match="topic"):
            party().link.publish(topic, b"")

    @pytest.mark.parametrize("topic_filter", ["", "a/b+", "a/#/b", "#b"])
    def test_filters_that_are_none_are_refused_aloud(self, rig, topic_filter):
        """A filter that no broker takes is refused where it is given."""
        with pytest.raises(ValueError, match="filter"):
            rig.link("unstarted").subscribe(topic_filter)

    def test_oversized_messages_are_refused_aloud(self, party, root):
        """A message above the protocol's limit never reaches a broker."""
        with pytest.raises(ValueError, match="limit"):
            party().link.publish(root, b"x" * (MAX_MESSAGE_BYTES + 1))

    def test_close_may_come_early_and_twice(self, rig, party):
        """`close` before the start and a second `close` do nothing."""
        rig.link(f"unstarted-{uuid4().hex[:8]}").close()
        link = party().link

        link.close()
        link.close()

        assert not link.connected
