"""A broker and its links in memory: the working twin of `mqtt`, for tests and for one-process runs.

Nothing runs by itself: when `publish` returns, every connected link that subscribes has been called, in the order of
sending. A test cuts links, freezes the broker and restarts it; never anything leaves the process.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from edge_protocol.link import EVERYTHING, Handler, Hearing, check_message
from edge_protocol.topics import check_filter, matches

_log = logging.getLogger(__name__)


class _Sent(NamedTuple):
    topic: str
    payload: bytes
    retain: bool


class LoopbackBroker:
    """Retained messages, last wills and filters as MQTT has them. A link that is away gets nothing kept for it."""

    def __init__(self) -> None:
        self._links: dict[str, LoopbackLink] = {}
        self._cut: set[str] = set()
        self._retained: dict[str, bytes] = {}
        self._calls: deque[Callable[[], None]] = deque()
        self._lock = threading.RLock()
        self._frozen = False
        self._draining = False

    def link(
        self,
        client_id: str,
        will: tuple[str, bytes] | None = None,
        *,
        window: int = 16,
        hear: Hearing = EVERYTHING,
    ) -> "LoopbackLink":
        """A link to this broker, not yet started."""
        return LoopbackLink(self, client_id, will, window, hear)

    def cut(self, client_id: str) -> None:
        """The network to `client_id` breaks: its will is sent, and it stays away until `restore`."""
        with self._lock:
            self._cut.add(client_id)
            self._drop(client_id)
        self._drain()

    def restore(self, client_id: str) -> None:
        """The network to `client_id` is back: it connects again, if it was started and not closed."""
        with self._lock:
            self._cut.discard(client_id)
            link = self._links.get(client_id)
            if link is not None:
                self._connect(link)
        self._drain()

    def restart(self) -> None:
        """The broker ends, forgets all that was retained, and every link that is not cut connects again."""
        with self._lock:
            self._calls.clear()
            self._retained.clear()
            self._frozen = False
            away = [link for link in self._links.values() if link.connected]
            for link in away:
                link.connected, link.unanswered = False, 0
            for link in away:
                self._connect(link)
        self._drain()

    def freeze(self) -> None:
        """The broker takes what it is sent and answers nothing, until `thaw`."""
        self._frozen = True

    def thaw(self) -> None:
        """The broker works off what it was sent while frozen."""
        self._frozen = False
        self._drain()

    def _start(self, link: "LoopbackLink") -> None:
        with self._lock:
            self._drop(link.client_id)
            self._links[link.client_id] = link
            if link.client_id not in self._cut:
                self._connect(link)
        self._drain()

    def _connect(self, link: "LoopbackLink") -> None:
        if link.connected:
            return
        link.connected, link.unanswered = True, 0
        for topic_filter in link.filters:
            self._send_retained(link, topic_filter)
        self._calls.append(link.call_connect)

    def _drop(self, client_id: str) -> None:
        """End a connection without a goodbye."""
        link = self._links.get(client_id)
        if link is not None and link.connected:
            link.connected, link.unanswered = False, 0
            if link.will is not None:
                testament = _Sent(*link.will, retain=True)
                self._calls.append(lambda: self._deliver(testament))

    def _leave(self, link: "LoopbackLink") -> None:
        with self._lock:
            link.connected = False
            if self._links.get(link.client_id) is link:
                del self._links[link.client_id]

    def _subscribe(self, link: "LoopbackLink", topic_filter: str) -> None:
        with self._lock:
            link.filters[topic_filter] = None
            if link.connected:
                self._send_retained(link, topic_filter)
        self._drain()

    def _take(self, link: "LoopbackLink", sent: _Sent) -> bool:
        with self._lock:
            if not link.connected or link.unanswered >= link.window:
                return False
            link.unanswered += 1
            self._calls.append(lambda: self._answer(link, sent))
        self._drain()
        return True

    def _answer(self, link: "LoopbackLink", sent: _Sent) -> None:
        link.unanswered = max(0, link.unanswered - 1)
        self._deliver(sent)

    def _deliver(self, sent: _Sent) -> None:
        with self._lock:
            if sent.retain and sent.payload:
                self._retained[sent.topic] = sent.payload
            elif sent.retain:
                self._retained.pop(sent.topic, None)
            for link in self._links.values():
                if link.connected and any(matches(topic_filter, sent.topic) for topic_filter in link.filters):
                    self._calls.append(link.message_call(sent.topic, sent.payload))

    def _send_retained(self, link: "LoopbackLink", topic_filter: str) -> None:
        for topic, payload in self._retained.items():
            if link.hear.retained and matches(topic_filter, topic):
                self._calls.append(link.message_call(topic, payload))

    def _drain(self) -> None:
        """Work off the calls, none inside another: what a handler sends comes after what was sent before it."""
        with self._lock:
            if self._draining:
                return
            self._draining = True
        try:
            while (call := self._next()) is not None:
                call()
        except BaseException:
            self._draining = False
            raise

    def _next(self) -> Callable[[], None] | None:
        """The next call; None ends the draining, under the same lock, so that no other thread's call is left behind."""
        with self._lock:
            if self._calls and not self._frozen:
                return self._calls.popleft()
            self._draining = False
            return None


class LoopbackLink:
    """A `Link` of a `LoopbackBroker`."""

    def __init__(
        self, broker: LoopbackBroker, client_id: str, will: tuple[str, bytes] | None, window: int, hear: Hearing
    ) -> None:
        if will is not None:
            check_message(*will)
        self.client_id = client_id
        self.will = will
        self.window = window
        self.hear = hear
        self.filters: dict[str, None] = {}
        self.connected = False
        self.unanswered = 0
        self._broker = broker
        self._on_message: Handler = lambda _topic, _payload: None
        self._on_connect: Callable[[], None] = lambda: None

    def start(self, on_message: Handler, on_connect: Callable[[], None]) -> None:
        """Connect and stay connected, but for what the broker's `cut` does."""
        self._on_message, self._on_connect = on_message, on_connect
        self._broker._start(self)  # noqa: SLF001 (one thing in two classes)

    def subscribe(self, topic_filter: str) -> None:
        """Receive what matches, now and after each reconnect."""
        self._broker._subscribe(self, check_filter(topic_filter))  # noqa: SLF001

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Hand over one message; False when cut off or when the window is full."""
        check_message(topic, payload)
        return self._broker._take(self, _Sent(topic, payload, retain))  # noqa: SLF001

    def close(self) -> None:
        """Disconnect in order: the last will is not sent."""
        self._broker._leave(self)  # noqa: SLF001

    def call_connect(self) -> None:
        """Tell the caller that the connection stands."""
        if self.connected:
            self._guarded(self._on_connect)

    def message_call(self, topic: str, payload: bytes) -> Callable[[], None]:
        """The call that delivers a message, if the link is then still connected."""
        return lambda: self._guarded(lambda: self._on_message(topic, payload)) if self.connected else None

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:  # noqa: BLE001 (a handler's fault is not the broker's)
            _log.exception("a handler of link %s failed; the link goes on", self.client_id)
