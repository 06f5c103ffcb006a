"""A real hub to look at: SQLite in a folder, a clock in the hand, a server on a port of loopback."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cloud_hub.clock import FixedClock
from cloud_hub.config import Config, Settings
from cloud_hub.context import HubContext
from cloud_hub.storage.database import Database
from cloud_hub.web.app import make_app
from cloud_hub.web.server import WebServer
from tests.cloud_hub.updates.rollouts.works import Works
from tests.cloud_hub.web.factory_floor import Floor

TOKEN = "owner-token-of-the-tests-0123456789"


def hub_of(database: Database, clock: FixedClock, folder: Path) -> HubContext:
    """What the pages of a hub with this database are made from."""
    return HubContext(database, clock, TOKEN, Config(folder, Settings()))


@pytest.fixture
def hub(tmp_path: Path, sqlite: Database, clock: FixedClock) -> HubContext:
    """A hub with an empty database."""
    return hub_of(sqlite, clock, tmp_path)


@pytest.fixture
def floor(hub: HubContext, clock: FixedClock) -> Floor:
    """A factory that reports to the hub."""
    return Floor(hub.database, clock)


@pytest.fixture
def works(hub: HubContext, clock: FixedClock) -> Works:
    """A fleet of the hub's that releases are rolled out to."""
    return Works(hub.database, clock, hub.config.folder)


@pytest.fixture
def server(hub: HubContext) -> Iterator[WebServer]:
    """The hub's pages on a port of loopback."""
    web = WebServer(make_app(hub))
    web.start()
    yield web
    web.close()


@pytest.fixture
def visitor(server: WebServer) -> Iterator[httpx.Client]:
    """Somebody without a token."""
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture
def owner(server: WebServer) -> Iterator[httpx.Client]:
    """A program of the owner's."""
    with httpx.Client(base_url=server.url, timeout=60, headers={"authorization": f"Bearer {TOKEN}"}) as client:
        yield client
