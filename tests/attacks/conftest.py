"""The fixture of all attacks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.gateway import gateway_of
from tests.attacks.repositories import House
from tests.attacks.scene import Scene


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Two updates after enrolment."""
    house = House()
    with gateway_of(tmp_path, house) as gateway:
        gateway.take_all()
        old = {"models": house.models.files(), "director": house.director.files()}
        for _ in range(2):
            house.publisher.release("1.1.0", floor="1.0.0")
            house.models.bump("targets", "pub-acme")
            house.name("1.1.0")
            house.director.bump("targets")
            gateway.take_all()
        yield Scene(gateway, house, old)
