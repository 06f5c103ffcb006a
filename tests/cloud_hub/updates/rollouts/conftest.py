"""A works with a catalogue of three signed releases."""

from pathlib import Path

import pytest

from cloud_hub.clock import FixedClock
from cloud_hub.storage.database import Database
from tests.cloud_hub.updates.rollouts.works import V1, V2, V3, Works


@pytest.fixture
def works(database: Database, clock: FixedClock, tmp_path: Path) -> Works:
    """A hub with keys and three releases, and no gateway yet."""
    found = Works(database, clock, tmp_path)
    found.publish(V1, V2, V3)
    return found
