"""Two small models that answer neighbours, without a gateway around them."""

import http.client
import json
from pathlib import Path
from typing import Any

from edge_agent.inference.model import Model
from edge_agent.serving.metrics import Metrics
from edge_agent.serving.models import Models
from edge_agent.serving.server import Server
from edge_agent.serving.site import Answers, Site
from edge_agent.serving.turnstile import Turnstile
from tests.edge_agent.inference.small_bundles import write_image_bundle, write_window_bundle


class Line:
    """Pipelines with their models, those that are doubted, and a server that answers for them."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.folder = folder
        self.models = {
            "surface": Model.load(write_image_bundle(folder / "image")),
            "engine": Model.load(write_window_bundle(folder / "window")),
        }
        self.doubted: dict[str, list[str]] = {}
        self.asked: list[tuple[str, str]] = []
        self.turnstile = Turnstile(0.05)
        models = Models(
            lambda: self.models,
            lambda pipeline: self.doubted.get(pipeline, []),
            lambda pipeline, kind, _seconds: self.asked.append((pipeline, kind)),
            self.turnstile,
            unready=lambda: {name: "; ".join(why) for name, why in self.doubted.items() if why},
        )
        metrics = Metrics()
        metrics.running(lambda: self.models)
        self.server = Server("127.0.0.1", 0, **more)
        self.server.start(Site(Answers(metrics.render, list, list, list, dict, models)))
        self.connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)

    def ask(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and JSON of an answer; a body makes it a POST."""
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request("GET" if body is None else "POST", path, content, named)
        answer = self.connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if answer.headers["Content-Type"] == "application/json" else text

    def close(self) -> None:
        """Hang up and end."""
        self.connection.close()
        self.server.close()
