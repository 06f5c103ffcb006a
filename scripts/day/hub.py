"""The hub of a day as the demonstration sees it: its commands, and its HTTP API for what is asked often."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from scripts.day.account import Archived, archived_of
from scripts.day.children import Children, DayError, say_json

NAME = "hub"
SITE = "demonstration"
START_S = 30
ANSWER_S = 20
ROLLOUT = (
    *("--min-verdicts", "40", "--max-uninspected", "30", "--deadline", "60s"),
    *("--on-failure", "stop", "--reason", "the demonstration"),
)
"""Two seconds of parts are a proof here; a factory takes more, and has more time. A machine that is too busy for three
lines leaves parts uninspected whatever the model: that alone is no failure of the day."""


class Hub:
    """A hub in a folder: made, filled, started, asked."""

    def __init__(self, folder: Path, children: Children) -> None:
        self.folder = folder
        self._children = children
        self._client = httpx.Client(timeout=ANSWER_S, trust_env=False)
        self.broker = 0

    def make(self) -> None:
        """Make its folder."""
        made = say_json(["cloud-hub", "init", "--hub", str(self.folder)])
        self._client.headers["Authorization"] = f"Bearer {Path(made['token_file']).read_text().strip()}"

    def roll_out(self, bundle: str, version: str, *gateways: str) -> int:
        """Roll a release out to these gateways, the first one alone at first; the rollout's number."""
        chosen = [word for name in gateways for word in ("--gateway", name)]
        how = ["--waves", "1,rest" if len(gateways) > 1 else "1", *ROLLOUT, "--hub", str(self.folder)]
        made = say_json(["cloud-hub", "rollout", "create", bundle, version, *chosen, *how])
        return int(made["line"]["id"])

    def start(self) -> None:
        """Start it."""
        self._children.start(NAME, ["cloud-hub", "serve", "--hub", str(self.folder)])

    def wait(self) -> None:
        """Wait until it is ready."""
        serving = self._children.until("the hub to serve", self._serving, START_S)
        self._client.base_url = serving["web"]
        self.broker = urlsplit(serving["broker"]).port or 0
        self._children.until("the hub to be ready", self._is_ready, START_S)

    def enrol(self, request: Path, line: str, out: Path) -> None:
        """Have a gateway's request signed; what it needs of the hub goes to `out`."""
        where = ["--site", SITE, "--line", line, "--out", str(out), "--hub", str(self.folder)]
        say_json(["cloud-hub", "enrol", str(request), *where])

    def ask(self, path: str, **parameters: str) -> Any:
        """What the API answers.

        Raises:
            DayError: it does not answer, or not with 200.
        """
        try:
            answer = self._client.get(path, params=parameters)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            message = f"the hub did not answer {path}: {error!r}"
            raise DayError(message) from error
        return answer.json()

    def archived(self, gateway: str) -> Archived:
        """What it has of a gateway."""
        return archived_of(self.ask(f"/api/gateways/{gateway}/account")["streams"])

    def books(self) -> dict[str, Any]:
        """The account of each gateway as the hub draws it up, every row counted."""
        found = say_json(["cloud-hub", "account", "--hub", str(self.folder)], accept=(0, 1))
        return {book["gateway"]: book for book in found}

    def link(self) -> str:
        """An address that opens the pages, once."""
        path: str = self._client.post("/api/login-links").raise_for_status().json()["path"]
        return urljoin(str(self._client.base_url), path)

    def _serving(self) -> Any:
        try:
            return json.loads((self.folder / "serving.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def _is_ready(self) -> bool | None:
        try:
            return self._client.get("/health/ready").is_success or None
        except httpx.HTTPError:
            return None
