"""A hub with keys, for the tests of what is signed with them."""

from pathlib import Path

import pytest

from cloud_hub.clock import FixedClock
from cloud_hub.storage.database import Database
from cloud_hub.storage.objects import Objects
from tests.cloud_hub.updates.trusting import TrustedHub


@pytest.fixture
def trusted(database: Database, tmp_path: Path, clock: FixedClock) -> TrustedHub:
    """A hub whose keys are made, on each engine in turn."""
    hub = TrustedHub(database, Objects.open(tmp_path / "objects"), clock, tmp_path)
    hub.begin()
    return hub
