"""One gateway of a day: set up with its own key, and asked through its own commands for what it has on record."""

import mmap
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.inference import ring
from edge_protocol import ranges
from edge_protocol.messages import StreamAccount
from edge_protocol.ranges import EMPTY, Ranges
from scripts.day.children import Children, say, say_json
from scripts.day.plant import DIMMER, VERDICTS, Gateway, configuration
from scripts.day.summary import Row
from scripts.day.tape import Tape, Told
from scripts.day.truth import Draw, Truth

ROWS = (
    "SELECT epoch, trigger, pipeline, verdict, reason, latency_ms, coalesce(bundle, '') AS bundle, digest"
    " FROM verdict ORDER BY epoch, trigger"
)
LATEST = "SELECT version FROM verdict ORDER BY epoch DESC, trigger DESC LIMIT 1"
CURSORS = "SELECT epoch, stream, next - 1 AS produced, committed, declared FROM cursors"


class LiveGateway:
    """A gateway in a folder of its own."""

    def __init__(self, gateway: Gateway, folder: Path, draw: Draw) -> None:
        self.gateway = gateway
        self.name = gateway.name
        self.folder = folder
        self.truth = Truth(draw)
        self.tape = Tape(folder / VERDICTS)

    @property
    def config(self) -> Path:
        """Its TOML."""
        return self.folder / "gateway.toml"

    @property
    def identity(self) -> Path:
        """Where its key lies."""
        return self.folder / "data" / "identity"

    @property
    def dimmer(self) -> Path:
        """A file with a factor on its light."""
        return self.folder / DIMMER

    def install(self, bundle: Path, data: Path, *, cable: int, broker: int) -> None:
        """Write its TOML, and place the model it starts with, as whoever installs a gateway does."""
        self.config.write_text(configuration(self.gateway, data=data, cable=cable, broker=broker))
        shutil.copytree(bundle, self.folder / "data" / "bundles" / self.gateway.model)

    def new_identity(self) -> Path:
        """Make its key, which stays where it is; the request for its certificate."""
        say_json(["edge-agent", "identity", "new", self.name, "--folder", str(self.identity)])
        return self.identity / "request.csr"

    def start(self, children: Children) -> None:
        """Start its agent."""
        children.start(self.name, ["edge-agent", "run", "--config", str(self.config)])

    def history(self) -> list[dict[str, Any]]:
        """The steps of its updates, the latest first."""
        steps: list[dict[str, Any]] = say_json(["edge-agent", "update", "history", "--config", str(self.config)])
        return steps

    def latest_version(self) -> str:
        """The version of the model that gave its last verdict."""
        (row,) = self._query(LATEST)
        return str(row["version"])

    def read(self) -> list[Told]:
        """What the line was told since the last call; what those parts really were is known from now on."""
        new = self.tape.read()
        for told in new:
            self.truth(told.trigger)
        return new

    def made(self) -> list[StreamAccount]:
        """What it has numbered, what waits and what is declared, of its own database."""
        return [_stream(row) for row in self._query(CURSORS)]

    def rows(self) -> list[Row]:
        """Every verdict on record."""
        return msgspec.convert(self._query(ROWS), list[Row])

    def explain(self, trigger: int) -> list[str]:
        """Why a verdict is what it is, in the gateway's own words."""
        said = say(["edge-agent", "explain", str(trigger), "--config", str(self.config)])
        return said.splitlines()

    def part(self, trigger: int) -> str:
        """What the source calls the part of a verdict on record; nothing while it is not there."""
        rows = self._query(f"SELECT part FROM verdict WHERE trigger = {trigger:d}")  # noqa: S608 - a number
        return str(rows[0]["part"]) if rows else ""

    def triggers(self) -> int:
        """How many triggers it has taken: the ring counts them before anything else happens."""
        with (self.folder / "data" / "intake.ring").open("rb") as file:
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        header = ring.Header(memory)
        taken = header.next_n - 1
        header.release()
        return taken

    def _query(self, sql: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = say_json(["edge-agent", "query", sql, "--config", str(self.config)])
        return rows


def _stream(row: Mapping[str, Any]) -> StreamAccount:
    produced = row["produced"]
    received, declared = (msgspec.json.decode(row[name], type=Ranges) for name in ("committed", "declared"))
    every: Ranges = ((1, produced),) if produced else EMPTY
    held = ranges.subtract(every, ranges.union(received, declared))
    return StreamAccount(row["epoch"], row["stream"], produced, held, declared)
