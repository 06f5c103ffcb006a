"""A hub's parts for its tests: a database at the newest migration, an authority, a receiver on a link in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from sqlalchemy import text

from cloud_hub.access import enrolment
from cloud_hub.access.audit import Actor
from cloud_hub.access.authority import Authority
from cloud_hub.clock import FixedClock
from cloud_hub.context import Tally
from cloud_hub.storage.database import Database
from cloud_hub.storage.migrate import upgrade
from cloud_hub.storage.schema import metadata
from cloud_hub.telemetry.postbox import Postbox
from cloud_hub.telemetry.receiver import Receiver
from edge_protocol import topics
from edge_protocol.envelope import PrivateKey
from edge_protocol.loopback import LoopbackBroker
from edge_protocol.messages import Place
from tests.cloud_hub.postgres import INITDB, WHY_NOT, Postgres
from tests.simulators import START_US, GatewaySimulator, request_for

ACTOR = Actor("somebody", "a test")


@pytest.fixture
def clock() -> FixedClock:
    """A clock that stands a minute after the simulated gateways began."""
    return FixedClock(START_US + 60_000_000)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Database]:
    """A database in a PostgreSQL server, at the newest migration."""
    if INITDB is None:
        pytest.skip(WHY_NOT)
    server = Postgres()
    opened = Database.open(server.url)
    upgrade(opened)
    yield opened
    opened.close()
    server.close()


ENGINES = ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)]


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    """An empty SQLite database at the newest migration."""
    opened = Database.open(f"sqlite:///{tmp_path / 'hub.db'}")
    upgrade(opened)
    yield opened
    opened.close()


@pytest.fixture(params=ENGINES)
def database(request: pytest.FixtureRequest) -> Database:
    """An empty database at the newest migration: every law holds on both engines."""
    found: Database = request.getfixturevalue(request.param)
    if request.param == "postgres":
        with found.writing() as connection:
            names = ", ".join(table.name for table in metadata.sorted_tables)
            connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY"))
    return found


@pytest.fixture
def authority(tmp_path: Path, clock: FixedClock) -> Authority:
    """An enrolment authority."""
    return Authority.create(tmp_path / "authority.pem", tmp_path / "roots.pem", clock.wall_us())


@dataclass
class Bench:
    """A receiver at a loopback broker. Gateways speak when told to, the receiver works when told to."""

    database: Database
    authority: Authority
    clock: FixedClock
    broker: LoopbackBroker
    key: PrivateKey
    tally: Tally
    receiver: Receiver

    def enrol(self, name: str, key: PrivateKey | None = None, *, replace: bool = False) -> PrivateKey:
        """Enrol a gateway; answers with its key."""
        key, csr = request_for(name, key)
        request = enrolment.read_request(csr, Place(site="berlin", line="press"), replace=replace)
        with self.database.writing() as connection:
            enrolment.enrol(connection, self.authority, request, ACTOR, self.clock.wall_us())
        return key

    def gateway(self, name: str = "press-1", *, client: str = "", key: PrivateKey | None = None) -> GatewaySimulator:
        """A gateway, connected; enrolled here unless it brings a key."""
        key = key or self.enrol(name)
        simulator = GatewaySimulator(
            name, self.broker.link(client or name, window=10_000), key, [self.key.public_key()]
        )
        simulator.start()
        return simulator

    def work(self) -> None:
        """Let the receiver work until there is nothing to do."""
        while self.receiver.step():
            pass
        self.receiver.step()


@pytest.fixture
def bench(database: Database, authority: Authority, clock: FixedClock) -> Bench:
    """A receiver that holds every shard."""
    broker, key, tally = LoopbackBroker(), ed25519.Ed25519PrivateKey.generate(), Tally()
    link = broker.link("hub", window=10_000)
    receiver = Receiver(database, Postbox(link, key, clock), clock, tally, holds=lambda _shard: True)
    link.subscribe(topics.ALL_UP)
    link.start(receiver.on_message, lambda: None)
    return Bench(database, authority, clock, broker, key, tally, receiver)
