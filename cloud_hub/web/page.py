"""What a page is made of: parts that the hub re-renders by themselves, each from one look at the database.

A new page is a new module in `pages` with one `PAGE`, a line in `pages.PAGES` and its templates; nothing else changes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from sqlalchemy import Connection

from cloud_hub.context import HubContext
from cloud_hub.errors import RolloutError
from cloud_hub.telemetry.views import GatewayView, gateway
from cloud_hub.updates.rollouts.views import RolloutView
from cloud_hub.updates.rollouts.views import view as rollout_of
from cloud_hub.web.memo import Memo


class NotHere(Exception):
    """What a page is about does not exist; the message says what was looked for."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the hub: a connection that sees one moment, when that is, and what earlier looks have found."""

    hub: HubContext
    connection: Connection
    now_us: int
    memo: Memo

    def gateway(self, name: str) -> GatewayView:
        """The gateway `name`.

        Raises:
            NotHere: no such gateway is enrolled.
        """
        try:
            return gateway(self.connection, name, self.now_us)
        except KeyError as error:
            message = f"no gateway is called {name!r}"
            raise NotHere(message) from error

    def rollout(self, number: int) -> RolloutView:
        """The rollout of this number.

        Raises:
            NotHere: there is none.
        """
        try:
            return rollout_of(self.connection, number)
        except RolloutError as error:
            message = f"there is no rollout {number}"
            raise NotHere(message) from error


View: TypeAlias = Callable[[Reading, str], Mapping[str, object]]
"""What a part's template is given, for a subject such as a gateway's id; raises `NotHere` for one that is not."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a page that lives: rendered anew when what it shows has changed."""

    template: str
    view: View


@dataclass(frozen=True, slots=True)
class Page:
    """A page: where it is, which template frames it and which parts live on it.

    A part is named `<page>/<part>` or `<page>/<part>/<subject>`. `choices` are the query parameters the frame may
    use, each with its allowed values, first the default.
    """

    name: str
    title: str
    path: str
    icon: str
    template: str
    parts: Mapping[str, Part]
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    in_navigation: bool = True

    def chosen(self, query: Mapping[str, str]) -> dict[str, str]:
        """The value of each choice: what the query says where that is allowed, else the default."""
        asked = {name: query.get(name, "") for name in self.choices}
        return {name: asked[name] if asked[name] in allowed else allowed[0] for name, allowed in self.choices.items()}
