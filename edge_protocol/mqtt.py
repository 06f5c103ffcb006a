"""MqttLink: the link over MQTT 5, or over 3.1.1 where the broker speaks no 5. The only importer of paho.

Each connection gets a client of its own, so nothing that paho remembers outlives a connection: no message waits in
it while offline, and a broker that sends nonsense ends one connection, never the thread.
"""

import logging
import math
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_protocol.endpoint import Endpoint, Tls, endpoint
from edge_protocol.link import EVERYTHING, Handler, Hearing, check_message
from edge_protocol.topics import check_filter

__all__ = ["MqttLink", "Tls"]

KEEPALIVE_S = 15
SESSION_EXPIRY_S = 3600
"""How long a broker keeps what it has for a link that is away. More is not needed: what counts is sent again."""

_CONNECT_S = 5.0
_CLOSE_S = 2.0
_TICK_S = 1.0
_STALL_S = 2.0 * KEEPALIVE_S
"""A broker that answers pings and no message for this long is left and met again."""

_STEADY_S = 10.0
"""A connection that held this long was a good one: the back-off begins anew."""

_PACKET_OVERHEAD_BYTES = 1024
"""Room for a packet's header, topic and properties around the payload."""

_MAX_INBOUND_BYTES = 4 * 1024 * 1024
"""A packet that announces more ends the connection before it fills the memory: paho would collect 256 MB."""

_RECEIVE_BYTES = 128 * 1024
"""The socket's own buffer. paho empties it a hundred times before it lets us look at what was announced."""

_VERSIONS = {MQTTProtocolVersion.MQTTv5: "5", MQTTProtocolVersion.MQTTv311: "3.1.1"}

_log = logging.getLogger(__name__)


class MqttLink:
    """A `Link` to one broker. Give each client id to one link only: a broker drops the elder of two."""

    def __init__(
        self,
        url: str,
        client_id: str,
        *,
        will: tuple[str, bytes] | None = None,
        tls: Tls | None = None,
        window: int = 16,
        hear: Hearing = EVERYTHING,
        backoff_s: tuple[float, float] = (1.0, 60.0),
    ) -> None:
        """Raises LinkError: a URL that is not `mqtt[s]://host[:port]`, or a TLS file that cannot be used."""
        if will is not None:
            check_message(*will)
        self._dial = _Dial(endpoint(url, tls), client_id, will, window, hear)
        self._backoff_s = backoff_s
        self._filters: dict[str, None] = {}
        self._session: _Session | None = None
        self._denied = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def connected(self) -> bool:
        """Whether the broker has taken the connection and all subscriptions, and nothing tells otherwise."""
        return self._session is not None and self._session.ready

    @property
    def version(self) -> str:
        """The MQTT version spoken now, `5` or `3.1.1`; empty when offline."""
        session = self._session
        return _VERSIONS[session.protocol] if session is not None and session.ready else ""

    @property
    def denied(self) -> int:
        """How many messages the broker has refused since the start. Only MQTT 5 brokers tell."""
        return self._denied + (self._session.denied if self._session is not None else 0)

    def start(self, on_message: Handler, on_connect: Callable[[], None]) -> None:
        """Connect in the background and keep connected. Returns at once, connected or not."""
        if self._thread is not None:
            message = "a link is started once"
            raise RuntimeError(message)
        run = threading.Thread(target=self._run, args=(on_message, on_connect), name="mqtt-link", daemon=True)
        self._thread = run
        run.start()

    def subscribe(self, topic_filter: str) -> None:
        """Receive what matches, now and after each reconnect."""
        self._filters[check_filter(topic_filter)] = None
        # After the filter is noted: a session that is just connecting reads the notes once it counts as connected.
        session = self._session
        if session is not None:
            session.subscribe(topic_filter)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Hand over one message at QoS 1; False when offline, when the window is full or above the broker's limit."""
        check_message(topic, payload)
        session = self._session
        return session is not None and session.ready and session.publish(topic, payload, retain=retain)

    def close(self) -> None:
        """Disconnect and stop. May be called twice."""
        self._stop.set()
        session, thread = self._session, self._thread
        if session is not None:
            session.leave()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_CLOSE_S)

    def _run(self, on_message: Handler, on_connect: Callable[[], None]) -> None:
        failures = 0
        while not self._stop.is_set():
            began_s = time.monotonic()
            self._converse(on_message, on_connect)
            failures = 0 if time.monotonic() - began_s >= _STEADY_S else failures + 1
            self._stop.wait(_delay_s(failures, self._backoff_s))

    def _converse(self, on_message: Handler, on_connect: Callable[[], None]) -> None:
        """One connection with MQTT 5; one with 3.1.1 when the broker is there and did not take the first."""
        for protocol in _VERSIONS:
            session = _Session(self._dial, protocol, self._filters, on_message, on_connect)
            self._session = session
            session.run(self._stop)
            self._denied, session.denied = self._denied + session.denied, 0
            if session.taken or not session.reached or self._stop.is_set():
                return


@dataclass(frozen=True, slots=True)
class _Dial:
    """What every connection of a link has in common."""

    broker: Endpoint
    client_id: str
    will: tuple[str, bytes] | None
    window: int
    hear: Hearing


class _Window:
    """How many messages are on their way without an answer. Two threads use it; its lock is never held over a call.

    paho calls `on_publish` while holding the lock that its `publish` needs: a lock of ours around both is a deadlock.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._taken = 0
        self._moved_s = 0.0
        self._lock = threading.Lock()

    def take(self) -> bool:
        with self._lock:
            if self._taken >= self.size:
                return False
            if not self._taken:
                self._moved_s = time.monotonic()
            self._taken += 1
            return True

    def free(self) -> None:
        with self._lock:
            self._taken -= 1
            self._moved_s = time.monotonic()

    def stalled(self) -> bool:
        with self._lock:
            return self._taken > 0 and time.monotonic() - self._moved_s > _STALL_S


class _Session:
    """One connection, from the dial to its end."""

    def __init__(
        self,
        dial: _Dial,
        protocol: MQTTProtocolVersion,
        filters: dict[str, None],
        on_message: Handler,
        on_connect: Callable[[], None],
    ) -> None:
        self.protocol = protocol
        self.reached = self.taken = self.ready = False
        self.denied = 0
        self._dial = dial
        self._filters = filters
        self._on_message = on_message
        self._on_connect = on_connect
        self._window = _Window(dial.window)
        self._max_packet_bytes = math.inf
        self._awaited_mid: int | None = None
        self._give_up_s = math.inf
        self._client = self._make_client()
        self._over = False
        # No callback of paho's takes it, so whoever holds it may wait for paho.
        self._using = threading.Lock()

    def run(self, stop: threading.Event) -> None:
        """Connect and stay until the connection ends, for whatever reason."""
        try:
            self._connect()
            self.reached = True
            self._give_up_s = time.monotonic() + _CONNECT_S
            if stop.is_set():
                return
            while self._client.loop(_TICK_S) == MQTTErrorCode.MQTT_ERR_SUCCESS and not self._is_over():
                pass
        except Exception as error:  # noqa: BLE001 (whatever it was, the next connection may be better)
            _log.info("no connection to %s: %s", self._dial.broker, error)
        finally:
            self.ready = False
            self._forget()

    def leave(self) -> None:
        """Say goodbye after what is already queued; `run` returns when that is said."""
        self._give_up_s = time.monotonic() + _CLOSE_S
        with self._using:
            if not self._over:
                self._client.disconnect()

    def subscribe(self, topic_filter: str) -> None:
        """Ask for one more filter, if the connection is there to ask on."""
        with self._using:
            if not self._over and self._client.is_connected():
                self._client.subscribe(topic_filter, 1)

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> bool:
        """Send one message if the window has room for it."""
        if len(payload) + len(topic.encode()) + _PACKET_OVERHEAD_BYTES > self._max_packet_bytes:
            self.denied += 1
            return False
        if not self._window.take():
            return False
        with self._using:
            if not self._over and self._client.publish(topic, payload, 1, retain).rc == MQTTErrorCode.MQTT_ERR_SUCCESS:
                return True
        self._window.free()
        return False

    def _forget(self) -> None:
        """Close every socket of paho's now: it holds two more than the connection, and closes them when collected."""
        with self._using:
            self._over = True
            self._client._reset_sockets()  # noqa: SLF001 (nothing public does it)
        for name in self._callbacks():
            setattr(self._client, name, None)

    def _make_client(self) -> Client:
        dial, five = self._dial, self.protocol == MQTTProtocolVersion.MQTTv5
        client = Client(
            CallbackAPIVersion.VERSION2,
            dial.client_id,
            clean_session=None if five else not dial.hear.kept,
            protocol=self.protocol,
            reconnect_on_failure=False,
        )
        client.max_inflight_messages_set(dial.window)
        if dial.broker.context is not None:
            client.tls_set_context(dial.broker.context)
        if dial.will is not None:
            client.will_set(*dial.will, qos=1, retain=True)
        client.on_socket_open = _tune
        # With this set, paho leaves all writing to our loop instead of doing it in the publisher's thread.
        client.on_socket_register_write = _ignore
        for name, callback in self._callbacks().items():
            setattr(client, name, callback)
        return client

    def _callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_connect": self._connected,
            "on_subscribe": self._subscribed,
            "on_disconnect": self._disconnected,
            "on_message": self._received,
            "on_publish": self._answered,
        }

    def _connect(self) -> None:
        options: dict[str, Any] = {}
        if self.protocol == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = SESSION_EXPIRY_S
            properties.MaximumPacketSize = self._dial.hear.max_bytes + _PACKET_OVERHEAD_BYTES
            # paho's own default wipes the session at the first connection of a process.
            options = {"clean_start": not self._dial.hear.kept, "properties": properties}
        self._client.connect(self._dial.broker.host, self._dial.broker.port, KEEPALIVE_S, **options)

    def _is_over(self) -> bool:
        if time.monotonic() > self._give_up_s:
            return True
        if self._client._in_packet["remaining_length"] > _MAX_INBOUND_BYTES:  # noqa: SLF001 (paho has no such limit)
            _log.warning("%s announces a packet above %d bytes", self._dial.broker, _MAX_INBOUND_BYTES)
            return True
        if self._window.stalled():
            _log.warning("%s answers no message: connecting anew", self._dial.broker)
            return True
        return False

    def _connected(
        self, client: Client, _user: object, _flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            _log.info("%s refused MQTT %s: %s", self._dial.broker, _VERSIONS[self.protocol], reason)
            return
        self.taken = True
        # The broker's own limits, which paho does not heed.
        self._window.size = min(self._window.size, max(1, getattr(properties, "ReceiveMaximum", self._window.size)))
        self._max_packet_bytes = getattr(properties, "MaximumPacketSize", math.inf)
        filters = [(topic_filter, 1) for topic_filter in list(self._filters)]
        if filters:
            self._awaited_mid = client.subscribe(filters)[1]
        else:
            self._begin()

    def _subscribed(
        self, _client: Client, _user: object, mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            _log.warning("%s refused a subscription", self._dial.broker)
        if mid == self._awaited_mid:
            self._awaited_mid = None
            self._begin()

    def _begin(self) -> None:
        """The subscriptions stand: what the caller now asks cannot miss its answer."""
        self._give_up_s = math.inf
        self.ready = True
        _guarded(self._on_connect)

    def _disconnected(
        self, _client: Client, _user: object, _flags: object, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        self.ready = False
        _log.info("connection to %s ended: %s", self._dial.broker, reason)

    def _received(self, _client: Client, _user: object, message: MQTTMessage) -> None:
        if self._dial.hear.retained or not message.retain:
            _guarded(lambda: self._on_message(message.topic, bytes(message.payload)))

    def _answered(
        self, _client: Client, _user: object, _mid: int, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        self._window.free()
        if reason.is_failure:
            self.denied += 1


def _guarded(call: Callable[[], None]) -> None:
    try:
        call()
    except Exception:  # noqa: BLE001 (a handler's fault must not end the connection)
        _log.exception("a handler of this link failed; the link goes on")


def _tune(_client: Client, _user: object, sock: Any) -> None:
    """Send small answers at once, take no flood, and notice a dead peer even while something is sent to it."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 2 * KEEPALIVE_S * 1000)


def _ignore(_client: Client, _user: Any, _sock: Any) -> None:
    return None


def _delay_s(failures: int, backoff_s: tuple[float, float]) -> float:
    """How long to wait before the next try: doubling, and each client at another moment after a common outage."""
    least, most = backoff_s
    return min(most, least * 2.0 ** min(failures, 32)) * random.uniform(0.5, 1.0)  # noqa: S311 (jitter)
