"""A running hub: broker, receiver, leases, drift and pages are built, wired, run and stopped here.

The only file that sees all rooms. The caller's thread looks after things once a second; the receiver has one of its
own; the web server and the link bring theirs.
"""

import fcntl
import json
import logging
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cloud_hub.access import enrolment, keys, tokens
from cloud_hub.access.founding import HUB_KEY, ROOTS, TOKEN, load_authority
from cloud_hub.clock import Clock, SystemClock
from cloud_hub.config import Config
from cloud_hub.context import HubContext, Tally
from cloud_hub.errors import ConfigError, HubError
from cloud_hub.monitoring import drift, identity
from cloud_hub.storage import files, ports
from cloud_hub.storage.database import Database
from cloud_hub.storage.migrate import upgrade
from cloud_hub.storage.objects import Objects
from cloud_hub.telemetry.broker import HUB_NAME, Broker, BrokerSettings, Certificates
from cloud_hub.telemetry.leases import Leases, filters
from cloud_hub.telemetry.postbox import Postbox
from cloud_hub.telemetry.receiver import Receiver
from cloud_hub.updates import ceremony
from cloud_hub.updates.carrier import Carrier
from cloud_hub.updates.delivery import Delivery
from cloud_hub.updates.rollouts import engine as rollouts
from cloud_hub.web.app import make_app
from cloud_hub.web.server import WebServer
from edge_protocol.endpoint import Tls
from edge_protocol.mqtt import MqttLink

SERVING = "serving.json"
TICK_S = 1.0
WAIT_S = 0.2
WINDOW = 500
"""Receipts on their way at once."""

CARRIED = 64
"""Sets and blocks on their way at once, 4 MB: on a link of their own, so that no receipt waits for a model."""

_log = logging.getLogger(__name__)


class Hub:
    """A hub of a folder. `start`, then `run` until told to stop; `close` in any case."""

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._tally = Tally()
        self._closing = ExitStack()
        self._stop = threading.Event()
        self._broker: Broker | None = None
        self._link: MqttLink | None = None
        self._subscribed: frozenset[str] = frozenset()
        self._revoked: set[int] | None = None
        self._certificates: Certificates | None = None
        self._next_lease_us = 0

    def start(self) -> None:
        """Start every part; what was started is closed again when one does not start.

        Raises:
            HubError: a port is taken, a file is missing, the database is away, or this hub runs already.
        """
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        config, settings = self._config, self._config.settings
        self._closing.callback(_lock(config.folder / "serve.lock"))
        self._database = Database.open(config.database_url)
        self._closing.callback(self._database.close)
        upgrade(self._database)
        chosen = ports.choose(config)
        self._url = self._start_broker(chosen)
        context = HubContext(
            self._database, self._clock, tokens.read(config.folder / TOKEN), config, self._tally, self.not_ready
        )
        self._app = make_app(context)
        web = self._web = WebServer(self._app, settings.web.host, chosen.web)
        self._closing.callback(web.close)
        self._start_receiving()
        web.start()
        self._closing.callback((config.folder / SERVING).unlink, missing_ok=True)
        v3 = f"mqtt://{settings.broker.host}:{chosen.mqtt_v3}"
        serving = {"web": web.url, "broker": self._url, "broker_v3": v3, "pid": os.getpid()}
        files.replace(config.folder / SERVING, json.dumps(serving).encode() + b"\n")

    def login_url(self) -> str:
        """An address that opens the pages, once."""
        return f"{self._web.url}/login?token={self._app.state.sessions.new_code()}"

    def run(self, stop: threading.Event) -> None:
        """Look after the parts until `stop` is set."""
        while not stop.wait(TICK_S):
            for look in (
                self._look_at_broker, self._look_at_leases, self._look_at_fleet, self._look_at_revocations,
                self._look_at_signatures, self._look_at_rollouts,
            ):  # fmt: skip
                self._guarded(look)

    def close(self) -> None:
        """Stop everything, the broker last but for the database. May be called twice."""
        self._stop.set()
        self._closing.close()

    def not_ready(self) -> str:
        """What keeps the hub from working, in one sentence."""
        if self._link is None or not self._link.connected:
            return f"not connected to the broker at {self._url}"
        return "" if self._subscribed else "another replica holds all shards"

    def _start_broker(self, chosen: ports.Ports) -> str:
        broker = self._config.settings.broker
        if broker.url:
            return broker.url
        if broker.tls and broker.engine != "mosquitto":
            message = "iotcore does not check certificates"
            raise ConfigError(message, 'set engine = "mosquitto" in [broker], or tls = false')
        folder = self._config.folder / "broker"
        self._certificates = self._make_certificates(folder) if broker.tls else None
        listening = (chosen.mqtt, chosen.mqtt_v3)
        self._broker = Broker(BrokerSettings(folder, broker.engine, broker.host, listening, self._certificates))
        self._broker.start()
        self._closing.callback(self._broker.stop)
        return ports.broker_url(self._config, chosen)

    def _start_receiving(self) -> None:
        settings, clock = self._config.settings, self._clock
        client_id = f"lineside-hub-{settings.hub.tenant}-{settings.hub.replica}"
        link = self._link = MqttLink(self._url, client_id, tls=self._tls(), window=WINDOW, backoff_s=(0.2, 5.0))
        ttl_s = settings.receiving.lease_s
        self._leases = Leases(self._database, settings.hub.replica, clock, ttl_s=ttl_s, tenant=settings.hub.tenant)
        self._closing.callback(self._guarded, self._leases.release)
        key = keys.load(self._config.folder / HUB_KEY)
        carrier = self._make_carrier(f"{client_id}-carrier")
        receiver = Receiver(
            self._database, Postbox(link, key, clock), clock, self._tally, holds=self._leases.holds,
            batch_messages=settings.receiving.batch_messages, queue_bytes=settings.receiving.queue_mb * 1024 * 1024,
            on_want=carrier.want,
        )  # fmt: skip
        worker = threading.Thread(target=self._receive, args=(receiver,), name="receiver")
        self._look_at_leases()
        worker.start()
        self._closing.callback(worker.join)
        link.start(receiver.on_message, lambda: None)
        self._closing.callback(link.close)

    def _make_carrier(self, client_id: str) -> Carrier:
        link = MqttLink(self._url, client_id, tls=self._tls(), window=CARRIED, backoff_s=(0.2, 5.0))
        objects = Objects.open(self._config.objects)
        carrier = Carrier(self._database, objects, link, self._tally, holds=self._leases.holds)
        self._delivery = Delivery(carrier, self._guarded)
        self._delivery.start()
        self._closing.callback(self._delivery.close)
        link.start(lambda _topic, _payload: None, carrier.connected)
        self._closing.callback(link.close)
        return carrier

    def _receive(self, receiver: Receiver) -> None:
        while not self._stop.is_set():
            self._guarded(lambda: receiver.step(WAIT_S))
            if receiver.is_stuck:
                self._stop.wait(TICK_S)

    def _look_at_broker(self) -> None:
        if self._broker is not None and not self._broker.check():
            self._tally.add("broker_restarts")
            _log.warning("the broker had ended and runs again")

    def _look_at_leases(self) -> None:
        now_us = self._clock.wall_us()
        if now_us < self._next_lease_us or self._link is None:
            return
        held = self._leases.step()
        self._next_lease_us = now_us + round(self._config.settings.receiving.lease_s * 1_000_000 / 3)
        if held != self._subscribed:
            for topic_filter in filters(held):
                self._link.subscribe(topic_filter)
            self._subscribed = held

    def _look_at_fleet(self) -> None:
        settings = self._config.settings.drift
        rules = drift.Rules(settings.window_samples, settings.psi, settings.windows)
        with self._database.writing() as connection:
            self._tally.add("drift_windows", drift.tick(connection, self._clock.wall_us(), rules))
            identity.tick(connection, self._clock.wall_us())

    def _look_at_rollouts(self) -> None:
        """Without the online key there are no updates, and nothing that a rollout could have assigned."""
        with self._database.reading() as connection:
            signer = ceremony.online_key(connection, self._config.folder)
        if signer is not None:
            objects = Objects.open(self._config.objects)
            self._tally.add("rollout_turns", rollouts.step(self._database, objects, signer, self._clock.wall_us()))

    def _look_at_signatures(self) -> None:
        self._tally.add("signatures_renewed", self._delivery.renew(self._database, self._config.folder, self._clock))

    def _look_at_revocations(self) -> None:
        """A certificate that was revoked while the hub runs is refused at its next connection."""
        if self._certificates is None or self._broker is None:
            return
        with self._database.reading() as connection:
            revoked = set(enrolment.revoked_serials(connection))
        if revoked != self._revoked:
            self._write_revocations(self._certificates.revoked, revoked)
            self._broker.reload()

    def _write_revocations(self, path: Path, revoked: set[int]) -> None:
        authority = load_authority(self._config)
        files.replace(path, authority.revocations(revoked, self._clock.wall_us()))
        self._revoked = revoked

    def _make_certificates(self, folder: Path) -> Certificates:
        """Keys and certificates of broker and hub, made anew at each start: nobody else has to know them."""
        authority, now_us = load_authority(self._config), self._clock.wall_us()
        for name, sign in (("server", authority.sign_server), ("hub", authority.sign)):
            key = ec.generate_private_key(ec.SECP256R1())
            who = self._config.settings.broker.host if name == "server" else HUB_NAME
            certificate = sign(who, key.public_key(), now_us)
            files.replace(folder / f"{name}.key", keys.private_pem(key), mode=0o600)
            files.replace(folder / f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM))
        with self._database.reading() as connection:
            self._write_revocations(folder / "revoked.pem", set(enrolment.revoked_serials(connection)))
        roots = self._config.folder / ROOTS
        return Certificates(roots, folder / "server.pem", folder / "server.key", folder / "revoked.pem")

    def _tls(self) -> Tls | None:
        if self._certificates is None:
            return None
        folder = self._certificates.certificate.parent
        return Tls(self._certificates.roots, folder / "hub.pem", folder / "hub.key")

    def _guarded(self, act: Callable[[], object]) -> None:
        """The one place where a fault of a part ends in the log: the other parts go on, the next look tries again."""
        try:
            act()
        except HubError as error:
            _log.error("%s; %s", error, error.hint)
        except Exception:  # noqa: BLE001 (the loop outlives the fault of any part)
            self._tally.add("faults")
            _log.exception("a part of the hub failed")


def _lock(path: Path) -> Callable[[], None]:
    """Take the lock that one serving process holds; it is gone with the process, however that ends."""
    try:
        handle = path.open("ab")
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise ConfigError(message, "give this user the rights to the hub's folder") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        handle.close()
        message = f"a hub already serves {path.parent}"
        raise ConfigError(message, f"stop that one first; its process id is in {SERVING}") from error
    return handle.close
