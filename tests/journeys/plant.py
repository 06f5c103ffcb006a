"""A whole plant: a real hub, real gateways, and between them cables that can be pulled. Processes can be killed."""

import io
import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from typing import Any

from cloud_hub.cli.main import main
from edge_agent import identity
from edge_protocol.bundle import MANIFEST
from edge_protocol.codes import Reason, Verdict
from scripts.day.account import Account, archived_of, draw_up
from scripts.day.cable import Cable
from tests.edge_agent.updates.releases import Release
from tests.gateways import READY, Gateway, Running, until

HUB = """
[hub]
broker = "mqtt://127.0.0.1:{port}"
linger_s = 0.2
state_s = 0.3
resend_s = 1
backoff_s = 0.3

[store]
commit_s = 0.3

[updates]
probation_verdicts = 20
probation_s = 0.3
"""


class Plant:
    """A hub with an embedded broker and two gateways, each behind a cable of its own."""

    def __init__(self, folder: Path, rate_hz: float) -> None:
        self.folder = folder / "hub"
        self.publisher = folder / "publisher"
        self.hub_says("init", "--hub", str(self.folder))
        self._make_keys()
        self.hub = self._start_hub()
        self.cables = {name: Cable(("127.0.0.1", self._broker_port())) for name in ("press-1", "press-2")}
        self.gateways = {
            name: Gateway(folder / name, name, rate_hz=rate_hz, more=HUB.format(port=cable.port))
            for name, cable in self.cables.items()
        }
        self.agents: dict[str, Running] = {}
        for name, gateway in self.gateways.items():
            self._enrol(gateway)
            self.agents[name] = gateway.start()
        for agent in self.agents.values():
            agent.await_line(READY)

    def hub_says(self, *arguments: str) -> Any:
        """What a verb of the hub answers. Asked in this process: a program of its own costs seconds."""
        out = io.StringIO()
        with redirect_stdout(out), suppress(SystemExit):
            main([*arguments, "--json"])
        return json.loads(out.getvalue())

    def publish(self, release: Release) -> None:
        """Sign a release and hand it in."""
        folder = self.publisher / release.digest
        folder.mkdir()
        for name, content in {MANIFEST: release.manifest, **release.files}.items():
            (folder / name).write_bytes(content)
        self.hub_says("publish", str(folder), "--key", str(self.publisher / "key.pem"), "--hub", str(self.folder))

    def roll_out(self, version: str) -> int:
        """Roll a release out to one gateway, then to the other; the rollout's number."""
        how = ["--waves", "1,rest", "--min-verdicts", "20", "--deadline", "10m", "--on-failure", "stop"]
        made = self.hub_says("rollout", "create", "small-window", version, *how, "--hub", str(self.folder))
        return int(made["line"]["id"])

    def rollout(self, number: int) -> dict[str, Any]:
        """What the hub says of a rollout."""
        found: dict[str, Any] = self.hub_says("rollout", "show", str(number), "--hub", str(self.folder))
        return found

    def freeze_hub(self) -> None:
        """The hub stands still while its broker goes on taking what it is sent."""
        self.hub.process.send_signal(signal.SIGSTOP)

    def kill_hub(self) -> None:
        """Kill the hub, and start it again. Its broker ends with it."""
        self.hub.kill()
        self.hub = self._start_hub()

    def kill(self, name: str) -> None:
        """Kill a gateway, and start it again."""
        self.agents[name].kill()
        self.agents[name] = self.gateways[name].start()

    def judge(self, parts: int) -> None:
        """Wait until each gateway has taken so many more parts."""
        goals = {name: gateway.triggers() + parts for name, gateway in self.gateways.items()}
        for name, goal in goals.items():
            until(f"{parts} parts of {name}", partial(self._has_taken, name, goal), 60)

    def come_to_rest(self) -> None:
        """Mend what is cut, stop the gateways in order, and wait until the hub has all that can come."""
        for cable in self.cables.values():
            cable.mend()
        for agent in self.agents.values():
            agent.await_line(READY) if not any(READY in line for line in agent.lines) else None
        until("the backlog to drain", self._drained, 60, every_s=0.2)
        codes = {name: agent.stop() for name, agent in self.agents.items()}
        assert codes == dict.fromkeys(self.agents, 0), [agent.lines for agent in self.agents.values()]

    def close(self) -> None:
        """End everything."""
        for agent in self.agents.values():
            agent.kill()
        for cable in self.cables.values():
            cable.close()
        self.hub.stop()

    def account(self, name: str) -> tuple[Any, Account]:
        """The hub's own account of a gateway, each row counted, and a third party's: of both disks."""
        (found,) = self.hub_says("account", name, "--hub", str(self.folder))
        return found, draw_up(self.gateways[name].made(), archived_of(found["streams"]))

    def archived(self, name: str) -> list[tuple[int, str, str]]:
        """Every verdict in the hub's database as (trigger, verdict, reason), by trigger."""
        uri = f"{(self.folder / 'hub.db').as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            rows = connection.execute(
                "SELECT trigger, verdict, reason FROM verdicts WHERE gateway = ? ORDER BY trigger", (name,)
            ).fetchall()
        return [(n, Verdict(verdict).name, Reason(reason).name) for n, verdict, reason in rows]

    def _has_taken(self, name: str, parts: int) -> bool:
        agent = self.agents[name]
        assert agent.process.poll() is None, "".join(agent.lines)
        return self.gateways[name].triggers() >= parts

    def _drained(self) -> bool:
        """Whether little more than what lingers is waiting."""
        assert self.hub.process.poll() is None, "".join(self.hub.lines)
        return all(self._waiting(name) < 200 for name in self.gateways)

    def _waiting(self, name: str) -> int:
        accounts = self.gateways[name].made()
        return sum(last - first + 1 for each in accounts for first, last in each.held)

    def _start_hub(self) -> Running:
        hub = Running("cloud-hub", "serve", "--hub", str(self.folder), "--json")
        hub.await_line('"broker"')
        return hub

    def _broker_port(self) -> int:
        port: int = json.loads((self.folder / "ports.json").read_bytes())["mqtt"]
        return port

    def _make_keys(self) -> None:
        where, key, offline = ["--hub", str(self.folder)], self.publisher / "key.pem", str(self.publisher / "offline")
        self.publisher.mkdir()
        self.hub_says("keys", "init", "--out", offline, *where)
        public = self.hub_says("keys", "new", str(key))["public"]
        self.hub_says("keys", "delegate", "vision", public, "--paths", "small-window", "--keys", offline, *where)

    def _enrol(self, gateway: Gateway) -> None:
        folder = gateway.data / "identity"
        identity.new(folder, gateway.name)
        self.hub_says("enrol", str(folder / "request.csr"), "--out", str(folder), "--hub", str(self.folder))


@contextmanager
def a_plant(folder: Path, rate_hz: float) -> Iterator[Plant]:
    """A plant at work."""
    plant = Plant(folder, rate_hz)
    try:
        yield plant
    finally:
        plant.close()
