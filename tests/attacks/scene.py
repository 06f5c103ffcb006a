"""What is there before an attack."""

from dataclasses import dataclass

from tests.attacks.gateway import Gateway
from tests.attacks.repositories import House


@dataclass
class Scene:
    """A gateway that runs 1.1.0 by the third sets of both repositories, and the first sets, which a thief has kept."""

    gateway: Gateway
    house: House
    old: dict[str, dict[str, bytes]]

    @property
    def now(self) -> dict[str, dict[str, bytes]]:
        """The sets as the owners would send them now."""
        return {"models": self.house.models.files(), "director": self.house.director.files()}
