"""All that stands on the site of a day, set up and asked here: the hub, the network with its cables, the gateways."""

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scripts.day.account import Account, draw_up
from scripts.day.children import Children
from scripts.day.desk import Desk
from scripts.day.gateways import LiveGateway
from scripts.day.hub import Hub
from scripts.day.narrator import Narrator
from scripts.day.plant import GATEWAYS, YARD, Gateway, draw_of
from scripts.day.summary import Drift, Update
from scripts.day.tape import Told
from scripts.day.thief import Thief

NETWORK = "network"
"""The name of the relay among the children, and of its folder."""

LAST = (NETWORK, "hub")
"""These end after all others: what the gateways send at the end still arrives."""

START_S = 20
LOOK_S = 0.5


class Site:
    """A site in the folder of a day. `bundles` and `data` by the names of models and of scenes."""

    def __init__(
        self,
        folder: Path,
        children: Children,
        narrator: Narrator,
        bundles: Mapping[str, Path],
        data: Mapping[str, Path],
    ) -> None:
        self.folder = folder
        self.children = children
        self.narrator = narrator
        self.bundles = bundles
        self.data = data
        self.broken: list[str] = []
        self.updates: list[Update] = []
        self.drift: list[Drift] = []
        self.morning = b""
        """The publishers' metadata as the broker had it when the day began."""
        self.hub = Hub(folder / "hub", children)
        self.desk = Desk(folder / "publisher", self.hub.folder)
        self.gateways = {gateway.name: self._live(gateway) for gateway in GATEWAYS}
        can_come = YARD.model in bundles and YARD.scene in data
        self.later = {YARD.name: self._live(YARD)} if can_come else {}
        """What is set up with the others and begins when its scene does."""

    def set_up(self) -> None:
        """Make the hub, the network and the gateways, and start them together, but for what comes later."""
        self.hub.make()
        self.desk.make_keys(*self.bundles)
        self.hub.start()
        with ThreadPoolExecutor() as pool:
            every = [*self.gateways.values(), *self.later.values()]
            enrolled = [pool.submit(self._enrol, live) for live in every]
            self.hub.wait()
            cables = self._lay_cables()
            for bundle in self.bundles.values():
                self.desk.publish(bundle)
            for done in enrolled:
                done.result()
        with Thief(self.hub.broker) as listener:
            self.morning = listener.overhear()
        for live in every:
            data, bundle = self.data[live.gateway.scene], self.bundles[live.gateway.model]
            live.install(bundle, data, cable=cables[live.name], broker=self.hub.broker)
        for live in self.gateways.values():
            live.start(self.children)

    def begin(self, name: str) -> LiveGateway:
        """Start a gateway that was to come later; it is one of the gateways from now on."""
        live = self.gateways[name] = self.later.pop(name)
        live.start(self.children)
        return live

    def cut(self, name: str) -> None:
        """Pull the network cable of a gateway."""
        (self.folder / NETWORK / f"{name}.cut").touch()

    def mend(self, name: str) -> None:
        """Plug it in again."""
        (self.folder / NETWORK / f"{name}.cut").unlink()

    def rest(self, seconds: float) -> dict[str, list[Told]]:
        """Let the day go on for a while; what the line was told meanwhile, by gateway.

        Raises:
            DayError: a process ended by itself.
        """
        told: dict[str, list[Told]] = {name: [] for name in self.gateways}
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.children.check()
            time.sleep(min(LOOK_S, left))
            for name, live in self.gateways.items():
                told[name] += live.read()
        return told

    def account(self, live: LiveGateway) -> Account:
        """The account of a gateway now."""
        made = live.made()
        return draw_up(made, self.hub.archived(live.name))

    def prove(self, text: str, *, holds: bool) -> None:
        """Say whether something holds, and remember if it does not."""
        self.narrator.proof(text, holds=holds)
        if not holds:
            self.broken.append(text)

    def _live(self, gateway: Gateway) -> LiveGateway:
        return LiveGateway(gateway, self.folder / gateway.name, draw_of(gateway, self.data[gateway.scene]))

    def _enrol(self, live: LiveGateway) -> None:
        self.hub.enrol(live.new_identity(), live.gateway.line, live.identity)

    def _lay_cables(self) -> dict[str, int]:
        folder = self.folder / NETWORK
        folder.mkdir()
        command = ["python", "-m", "scripts.day.cable", str(folder), str(self.hub.broker), *self.gateways, *self.later]
        self.children.start(NETWORK, command)
        ports = folder / "ports.json"
        self.children.until("the cables", lambda: True if ports.exists() else None, START_S)
        cables: dict[str, int] = json.loads(ports.read_text())
        return cables
