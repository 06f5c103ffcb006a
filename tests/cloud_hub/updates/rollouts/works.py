"""A hub with real keys and a real catalogue, a fleet that goes through the real archive: rollouts without a wire."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric import ed25519
from msgspec.structs import replace

from cloud_hub.access.audit import Actor
from cloud_hub.clock import FixedClock
from cloud_hub.storage.database import Database
from cloud_hub.storage.objects import Objects
from cloud_hub.updates import catalogue, ceremony, director
from cloud_hub.updates.catalogue import Content
from cloud_hub.updates.director import Assignment
from cloud_hub.updates.offline import Offline
from cloud_hub.updates.rollouts import create, engine, ledger, orders
from cloud_hub.updates.rollouts.plan import Plan, Rollout, Target
from edge_protocol import bundle
from edge_protocol.bundle import (
    AnomalyOutput,
    Budget,
    File,
    ImageInput,
    Licence,
    Manifest,
    OperatingPoint,
    Variant,
)
from edge_protocol.codes import Stream
from edge_protocol.messages import Update
from edge_protocol.updates import Step
from tests.cloud_hub.web.factory_floor import SURFACE, Floor, Gateway, Model, mixture

OWNER = Actor("owner", "a test")
NAME = "surface-anomaly"
FILES = {
    "model-fp32.onnx": b"weights " * 40_000,
    "model-u8s8.onnx": b"weights " * 10_000,
    "card.md": b"# Surface anomalies\n\nFinds scratches on pressed parts.\n\n- Good for: matt steel, diffuse light.\n",
    "golden-ok.png": b"a picture",
    "golden-ng.png": b"another picture",
}


@dataclass(frozen=True)
class Release(Model):
    """A bundle with a real manifest, as pipelines of the floor may run it."""

    arch: tuple[str, ...] = ()
    lineage: str = ""

    @cached_property
    def raw(self) -> bytes:
        """The manifest."""
        files = {name: File(hashlib.sha256(content).hexdigest(), len(content)) for name, content in FILES.items()}
        manifest = Manifest(
            schema=1, name=self.name, version=self.version, task="image-anomaly",
            input=ImageInput(tensor="x", width=224, height=224), output=AnomalyOutput(),
            operating_point=OperatingPoint(accept=0.4, reject=0.6), files=files, card="card.md",
            variants=(
                Variant(name="fp32", file="model-fp32.onnx", arch=self.arch),
                Variant(name="u8s8-vnni", file="model-u8s8.onnx", cpu_flags=("avx512_vnni",), arch=self.arch),
            ),
            goldens=tuple(bundle.Golden(file=name, expect={}) for name in ("golden-ok.png", "golden-ng.png")),
            budget=Budget(rss_mb=190, latency_ms=50.0), objective="Find scratches and dents on pressed steel.",
            licences=(Licence(what="EfficientNet-Lite0", licence="Apache-2.0", origin="tensorflow/tpu"),),
            lineage={"recipe": "models/surface-anomaly/recipe.py", "from": self.lineage or "1.0.0", "seed": "7"},
        )  # fmt: skip
        return bundle.canonical(manifest)

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the manifest."""
        return hashlib.sha256(self.raw).digest()

    @property
    def target(self) -> Target:
        """As rollouts name it."""
        return Target(self.name, self.version, self.digest.hex())


V1, V2, V3 = (Release(NAME, version, SURFACE.signals) for version in ("1.0.0", "1.1.0", "1.2.0"))
OF_ANOTHER_WORLD = Release(NAME, "3.0.0", SURFACE.signals, arch=("riscv64",))


class Works:
    """A hub and its fleet. Gateways do what they are told to; `look` is a second of the hub's loop."""

    def __init__(self, database: Database, clock: FixedClock, folder: Path) -> None:
        self.database = database
        self.clock = clock
        self.folder = folder
        self.objects = Objects.open(folder / "objects")
        self.floor = Floor(database, clock)
        self.signer = ed25519.Ed25519PrivateKey.generate()
        keys = [ed25519.Ed25519PrivateKey.generate() for _ in range(4)]
        with database.writing() as connection:
            ceremony.begin(connection, Offline(tuple(keys[:3]), keys[3]), self.signer, OWNER, clock.wall_us())

    def publish(self, *releases: Release, publisher: str = "vision", floor: str = "") -> None:
        """Put releases into the catalogue as a publisher's upload does."""
        for release in releases:
            for each in (release.raw, *FILES.values()):
                self.objects.put(each)
            content = Content(bundle.parse(release.raw), release.raw, None)
            with self.database.writing() as connection:
                now_us = self.clock.wall_us()
                catalogue.keep(connection, content, OWNER, now_us, publisher=publisher, floor=floor)

    def gateway(self, name: str, *pipelines: str, runs: Model = V1, **place: object) -> Gateway:
        """An enrolled gateway whose pipelines run a release and have judged with it."""
        gateway = self.floor.enrol(name, **place)
        for pipeline in pipelines or ("seal",):
            self.floor.judge(gateway, pipeline, runs, mixture(200, ng=2))
        self.floor.state(gateway)
        return gateway

    def plan(self, release: Release = V2, **asked: object) -> Plan:
        """A plan that is content with twenty verdicts."""
        return replace(Plan(target=release.target, min_verdicts=20, deadline_s=600), **asked)

    def create(self, plan: Plan) -> Rollout:
        """Make a rollout."""
        with self.database.writing() as connection:
            return create.create(connection, self.objects, plan, OWNER, self.clock.wall_us())

    def look(self, seconds: float = 1) -> int:
        """Let so much time go by and look."""
        self.clock.advance(seconds)
        return engine.step(self.database, self.objects, self.signer, self.clock.wall_us())

    def order(self, number: int, verb: str, reason: str = "because") -> Rollout:
        """Ask something of a rollout."""
        with self.database.writing() as connection:
            return orders.order(connection, number, verb, Actor("owner", reason), self.clock.wall_us())

    def rollout(self, number: int = 1) -> Rollout:
        """As it stands."""
        with self.database.reading() as connection:
            return ledger.load(connection, number)

    def states(self, number: int = 1) -> dict[str, str]:
        """Where each gateway stands."""
        return {each.gateway: str(each.state) for each in self.rollout(number).members}

    def assigned(self, gateway: str) -> dict[str, Assignment]:
        """What the director names for a gateway."""
        with self.database.reading() as connection:
            return director.assignments(connection, gateway)

    def run(self, gateways: Sequence[Gateway], release: Release, n: int = 30, **odd: int) -> None:
        """These gateways judge with a release, and say that they run it."""
        for gateway in gateways:
            for pipeline in list(gateway.pipelines):
                self.floor.judge(gateway, pipeline, release, mixture(n, **odd), over_us=1_000_000)
            self.floor.state(gateway)

    def say(self, gateway: Gateway, release: Release | None, step: Step, refusal: str = "", detail: str = "") -> None:
        """A gateway reports a step of its update; without a release, that it trusts nothing of what came."""
        named = {} if release is None else {"pipeline": "seal", **msgspec.structs.asdict(release.target)}
        record = Update(**{"pipeline": "", **named}, step=step, refusal=refusal, detail=detail)
        self.floor.record(gateway, Stream.EVENTS, record)
