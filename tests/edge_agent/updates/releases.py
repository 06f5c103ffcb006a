"""Releases that prove themselves in milliseconds, and a hub that signs and sends them over a real broker."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np

from edge_agent.inference.model import Model
from edge_agent.inference.selftest import trace
from edge_protocol import envelope, messages, topics
from edge_protocol.agreement import Wanted, path_of
from edge_protocol.bundle import MANIFEST, Expectation, File, Golden, Manifest, canonical
from edge_protocol.link import Link
from edge_protocol.messages import BLOCK_BYTES, Block, Want
from edge_protocol.metadata import carry, pack
from edge_protocol.mqtt import MqttLink
from tests.attacks.repositories import Publisher, Repository, new_key, target
from tests.edge_agent.inference import small_bundles
from tests.edge_agent.inference.small_bundles import LENGTH, npy, window_graph
from tests.edge_protocol.brokers import EmbeddedBroker
from tests.gateways import Gateway, until

FAR = datetime(2100, 1, 1, tzinfo=UTC)
ROLES = ("root", "targets", "snapshot", "timestamp", "pub-acme")
HUB = """
[hub]
broker = "mqtt://127.0.0.1:{port}"
linger_s = 0.1
state_s = 0.2
backoff_s = 0.2

[store]
commit_s = 0.2

[updates]
probation_verdicts = 20
probation_s = 0.3
self_test_s = 60
"""
GOLDEN = npy(np.sin(np.arange(LENGTH) * 0.3))


@dataclass(frozen=True)
class Release:
    """A manifest and its files by name."""

    manifest: bytes
    files: dict[str, bytes]

    @property
    def digest(self) -> str:
        """The bundle's digest."""
        return hashlib.sha256(self.manifest).hexdigest()

    @property
    def wanted(self) -> Wanted:
        """What the gateway makes of it when both repositories name it for the pipeline `engine`."""
        head = msgspec.json.decode(self.manifest)
        return Wanted("engine", head["name"], head["version"], self.digest, len(self.manifest), "r-1")

    @property
    def objects(self) -> dict[str, bytes]:
        """Everything by SHA-256."""
        return {hashlib.sha256(each).hexdigest(): each for each in (self.manifest, *self.files.values())}


def release(
    version: str,
    *,
    break_it: Callable[[Manifest], Manifest] = lambda manifest: manifest,
    graph: bytes = b"",
    **changes: object,
) -> Release:
    """The small window bundle with a golden, as it judges here; `break_it` comes after the golden was worked out."""
    graph = graph or window_graph()
    manifest = small_bundles.window_manifest(version=version, **changes)
    files = {"fp32.onnx": graph, "golden.npy": GOLDEN}
    manifest = msgspec.structs.replace(
        manifest, goldens=(Golden(file="golden.npy", expect={"fp32": _expect(graph, manifest)}),)
    )
    listed = {name: File(hashlib.sha256(content).hexdigest(), len(content)) for name, content in files.items()}
    return Release(canonical(break_it(msgspec.structs.replace(manifest, files=listed))), files)


def _expect(graph: bytes, manifest: Manifest) -> Expectation:
    with TemporaryDirectory() as folder:
        found = trace(
            Model.load(small_bundles.write_bundle(Path(folder) / "made", manifest, {"fp32.onnx": graph})), GOLDEN
        )
    return Expectation(
        verdict=found.verdict,  # type: ignore[arg-type]
        score=found.score,
        margin=0.05,
        stages=found.stages,
    )


def other_normalisation(manifest: Manifest) -> Manifest:
    """A contract that is not the one the goldens were made with."""
    bands = small_bundles.BANDS
    return msgspec.structs.replace(
        manifest, input=msgspec.structs.replace(manifest.input, mean=(0.0,) * bands, std=(2.0,) * bands)
    )


@dataclass
class Hub:
    """Both repositories of press-1 and the objects, sent over a link; it can be slow, forget and lie."""

    link: Link
    objects: dict[str, bytes] = field(default_factory=dict)
    wants: list[Want] = field(default_factory=list)
    sent_bytes: int = 0
    blocks: Callable[[Block], Block | None] = lambda block: block

    def __post_init__(self) -> None:
        roots = [new_key() for _ in range(3)]
        self.online, self.publisher = new_key(), Publisher([new_key()], ("small-window/*/manifest.json",))
        keys = {"root": roots, "timestamp": [self.online], "snapshot": [self.online]}
        until = dict.fromkeys(ROLES, FAR)
        self.models = Repository("models", "models", {**keys, "targets": [new_key()]}, expires=dict(until))
        self.models.publishers["pub-acme"] = self.publisher
        self.director = Repository(
            "director/press-1", "director", {**keys, "targets": [self.online]}, expires=dict(until)
        )

    def start(self) -> None:
        """Listen for wants."""
        self.link.subscribe(topics.up("press-1", "want"))
        self.link.start(self._on_message, lambda: None)

    def enrol(self, gateway: Gateway) -> None:
        """Leave the first roots where enrolment does."""
        folder = gateway.data / "identity"
        (folder / "models-root.json").write_bytes(self.models.first_root)
        (folder / "director-root.json").write_bytes(self.director.first_root)

    def publish(self, made: Release, *, floor: str = "") -> None:
        """A publisher signs a release, and the hub has its files."""
        manifest = msgspec.json.decode(made.manifest)
        self.publisher.release(manifest["version"], name=manifest["name"], manifest=made.manifest, floor=floor)
        self.models.bump("pub-acme")
        self.objects |= made.objects

    def name(self, made: Release, *pipelines: str) -> None:
        """The director names it for these pipelines, and nothing else."""
        manifest = msgspec.json.decode(made.manifest)
        path = path_of(manifest["name"], manifest["version"])
        custom: dict[str, object] = {
            "gateway": "press-1",
            "pipelines": list(pipelines or ("engine",)),
            "kind": "bundle",
            "rollout": "r-1",
        }
        self.director.targets = {path: target(path, made.manifest, custom)}
        self.director.bump("targets")

    def send(self) -> None:
        """Publish both sets, models first."""
        for topic, repository in (
            (topics.FLEET_MODELS, self.models),
            (topics.down("press-1", "desired"), self.director),
        ):
            until("the broker", lambda: self.link.connected)
            assert self.link.publish(topic, carry(pack(repository.files())), retain=True)

    def roll_out(self, made: Release) -> None:
        """Publish, name and send."""
        self.publish(made)
        self.name(made)
        self.send()

    def _on_message(self, topic: str, payload: bytes) -> None:
        want = messages.decode(Want, envelope.peek(payload).body)
        self.wants.append(want)
        content = self.objects.get(want.sha256, b"")
        end = min(len(content), want.offset + want.length)
        for at in range(want.offset, end, BLOCK_BYTES) if content else (0,):
            data = content[at : min(end, at + BLOCK_BYTES)]
            block = self.blocks(Block(sha256=want.sha256, offset=at, total=len(content), data=data))
            if block is not None:
                self.sent_bytes += len(block.data)
                self.link.publish(topics.down("press-1", "block"), messages.encode(block))


class Site:
    """A gateway and its hub with a real broker between them."""

    def __init__(self, folder: Path, *, rate_hz: float = 100, more: str = "") -> None:
        self.broker = EmbeddedBroker(folder)
        port = self.broker.ports["5"]
        self.gateway = Gateway(folder / "press-1", rate_hz=rate_hz, more=HUB.format(port=port) + more)
        self.gateway.enrol()
        self.hub = Hub(MqttLink(f"mqtt://127.0.0.1:{port}", "hub", backoff_s=(0.1, 0.2)))
        self.hub.enrol(self.gateway)
        self.hub.start()

    def steps(self) -> list[tuple[str, str, str]]:
        """The history: (step, version, refusal), the oldest first."""
        rows = self.gateway.query("SELECT step, version, refusal FROM updates ORDER BY id")
        return [(row["step"], row["version"], row["refusal"]) for row in rows]

    def digests(self) -> list[str]:
        """Which digests judged, in the order in which they began."""
        judged = "FROM verdict WHERE verdict != 'UNINSPECTED'"
        sql = f"SELECT digest, min(trigger) AS first {judged} GROUP BY digest ORDER BY first"
        return [row["digest"] for row in self.gateway.query(sql)]

    def close(self) -> None:
        """End the hub and the broker."""
        self.hub.link.close()
        self.broker.close()


@cache
def good(version: str) -> Release:
    """A release that proves itself."""
    return release(version)


def placed_digest(gateway: Gateway) -> str:
    """The digest of the bundle that was placed by hand."""
    return hashlib.sha256((gateway.data / "bundles/small-window" / MANIFEST).read_bytes()).hexdigest()
