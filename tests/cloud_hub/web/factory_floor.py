"""A hub's database with a fleet in it: what gateways would have sent goes through the real archive."""

import hashlib
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cloud_hub.clock import FixedClock
from cloud_hub.monitoring import alarms, drift
from cloud_hub.storage.database import Database, put
from cloud_hub.storage.schema import gateways, references
from cloud_hub.telemetry import archive, fleet
from cloud_hub.telemetry.verify import BatchArrival, LinkArrival, StateArrival
from edge_protocol import batch as batches
from edge_protocol import messages
from edge_protocol.batch import Batch, Context, RecordRow, VerdictRow
from edge_protocol.bundle import FEATURES
from edge_protocol.codes import ClockState, Reason, Stream, Verdict
from edge_protocol.counters import Reference, count, make_signal
from edge_protocol.envelope import Envelope
from edge_protocol.messages import Fault, GatewayState, Pane, PipelineState, Place, Started, StreamAccount, Time

MINUTE_US = 60_000_000
REASONS = {Verdict.OK: Reason.NONE, Verdict.NG: Reason.SCORE_REJECT, Verdict.REVIEW: Reason.SCORE_REVIEW}
SCORES = {Verdict.OK: 0.2, Verdict.REVIEW: 0.5, Verdict.NG: 0.8}


@dataclass(frozen=True)
class Model:
    """A bundle that a pipeline runs. All its signals are a bell around 100 on good samples."""

    name: str
    version: str
    signals: Sequence[str]
    variant: str = "u8s8-vnni"

    @property
    def reference(self) -> Reference:
        """Counts of good samples."""
        good = np.random.default_rng(7).normal(100, 10, 2000)
        return Reference(tuple(make_signal(name, good) for name in self.signals))

    @property
    def digest(self) -> bytes:
        """A digest of its own for each version."""
        return hashlib.sha256(f"{self.name} {self.version}".encode()).digest()


SURFACE = Model("surface-anomaly", "1.4.0", ("luma_mean", "luma_std", "sharpness", "red_green", "blue_green", "score"))
COATING = Model("surface-anomaly", "1.3.2", SURFACE.signals)
ENGINE = Model("engine-fault", "0.9.2", ("rms", "kurtosis", "crest", "zero_crossings", "score"), "fp32")


@dataclass
class Gateway:
    """A gateway as the floor remembers it."""

    name: str
    place: Place
    epoch: int = 7
    produced: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    updates: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    pipelines: dict[str, Model] = field(default_factory=dict)
    totals: dict[str, dict[str, int]] = field(default_factory=dict)


class Floor:
    """A factory that reports to `database`, at the time of `clock`."""

    def __init__(self, database: Database, clock: FixedClock) -> None:
        self.database = database
        self.clock = clock
        self.random = random.Random(11)  # noqa: S311

    def enrol(self, name: str, **place: object) -> Gateway:
        """A gateway that has not spoken yet."""
        gateway = Gateway(name, Place(**place))
        where = {key: getattr(gateway.place, key) for key in Place.__struct_fields__}
        with self.database.writing() as connection:
            put(connection, gateways, {"id": name, "enrolled_us": self.clock.wall_us(), **where})
        return gateway

    def judge(
        self,
        gateway: Gateway,
        pipeline: str,
        model: Model,
        verdicts: Sequence[Verdict],
        *,
        over_us: int = MINUTE_US,
        arrive: bool = True,
        latency_us: int = 0,
    ) -> None:
        """Parts judged evenly over the last `over_us`; those that do not `arrive` wait on the gateway's disk."""
        gateway.pipelines[pipeline] = model
        totals = gateway.totals.setdefault(pipeline, {})
        first = self._number(gateway, Stream.VERDICTS, len(verdicts))
        start = self.clock.wall_us() - over_us
        rows = []
        for i, verdict in enumerate(verdicts):
            totals[verdict.name] = totals.get(verdict.name, 0) + 1
            rows.append(self._row(first + i, start + over_us * i // len(verdicts), verdict, latency_us))
        if not arrive:
            gateway.held[Stream.VERDICTS] = gateway.held.get(Stream.VERDICTS, 0) + len(verdicts)
            return
        context = Context(pipeline, model.name, model.version, model.digest, model.variant)
        for i in range(0, len(rows), 500):
            self._send(gateway, Stream.VERDICTS, contexts=(context,), verdicts=tuple(rows[i : i + 500]))

    def record(self, gateway: Gateway, stream: Stream, *records: messages.Record) -> None:
        """Records of another stream, at this moment."""
        first, now = self._number(gateway, stream, len(records)), self.clock.wall_us()
        rows = (RecordRow(first + i, now, messages.encode(record)) for i, record in enumerate(records))
        self._send(gateway, stream, records=tuple(rows))

    def count(self, gateway: Gateway, pipeline: str, model: Model, n: int = 512, **shift: float) -> None:
        """A pane of drift counters, judged: `shift` says how many deviations a signal lies off its reference."""
        reference, now = model.reference, self.clock.wall_us()
        counts = {}
        for each in reference.signals:
            values = np.random.default_rng([now, *each.name.encode()]).normal(100 + 10 * shift.get(each.name, 0), 10, n)
            counts[each.name] = tuple(count(each.edges, values).tolist())
        self.pane(gateway, pipeline, model, n, counts)

    def pane(self, gateway: Gateway, pipeline: str, model: Model, n: int, counts: dict[str, tuple[int, ...]]) -> None:
        """A pane with these counts, judged by the hub's own rules."""
        reference, now = model.reference, self.clock.wall_us()
        gateway.pipelines[pipeline] = model
        pane = Pane(
            pipeline=pipeline,
            bundle=model.digest.hex(),
            reference=reference.digest,
            opened_us=now - MINUTE_US,
            closed_us=now,
            n=n,
            counts=counts,
        )
        self.record(gateway, Stream.DRIFT, pane)
        with self.database.writing() as connection:
            put(connection, references, {"digest": reference.digest, "body": reference.canonical()})
            drift.tick(connection, now)

    def alarm(self, gateway: Gateway, pipeline: str, model: Model, text: str, psi: dict[str, float]) -> None:
        """A drift alarm that stands."""
        subject = alarms.Subject(gateway.name, alarms.DRIFT, pipeline, model.digest.hex())
        with self.database.writing() as connection:
            alarms.raise_alarm(connection, subject, text, self.clock.wall_us(), psi)

    def state(self, gateway: Gateway, *, lose: int = 0, clock: ClockState = ClockState.OK) -> None:
        """What the gateway signs of itself; with `lose` it claims to have produced so many more."""
        now = self.clock.wall_us()
        state = GatewayState(
            gateway=gateway.name,
            agent_version="0.1.0",
            place=gateway.place,
            sent_us=now,
            time=Time("boot", 1, now, now, clock),
            streams=tuple(_account(gateway, stream, lose) for stream in gateway.produced),
            pipelines=tuple(_pipeline(name, model, gateway) for name, model in gateway.pipelines.items()),
            features=tuple(sorted(FEATURES)),
            arch="x86_64",
            cpu_flags=("avx2", "avx512_vnni"),
        )
        arrival = StateArrival(gateway.place.tenant, state, messages.encode(state), b"key")
        with self.database.writing() as connection:
            fleet.keep_state(connection, arrival, now)
            fleet.keep_link(connection, LinkArrival(gateway.name, online=True), now)
            fleet.seen(connection, [gateway.name], now)

    def refuse(self, gateway: Gateway, pipeline: str, model: Model, refusal: str) -> None:
        """From its next state on the gateway says that it refuses a release."""
        gateway.updates[pipeline] = (model.digest.hex(), "refused", refusal)

    def silence(self, gateway: Gateway) -> None:
        """The gateway's last will: it is gone."""
        with self.database.writing() as connection:
            fleet.keep_link(connection, LinkArrival(gateway.name, online=False), self.clock.wall_us())

    def _number(self, gateway: Gateway, stream: str, n: int) -> int:
        first = gateway.produced.get(stream, 0) + 1
        gateway.produced[stream] = first + n - 1
        return first

    def _row(self, seq: int, at_us: int, verdict: Verdict, latency_us: int) -> VerdictRow:
        middle = SCORES.get(verdict)
        score = None if middle is None else middle + 0.1 * math.tanh(self.random.gauss(0, 1))
        latency_us = latency_us or round(self.random.lognormvariate(8.4, 0.2))
        reason = REASONS.get(verdict, Reason.UNREADABLE)
        return VerdictRow(seq, at_us, seq, 0, verdict, reason, score, latency_us, f"P{seq:06d}")

    def _send(self, gateway: Gateway, stream: str, **rows: object) -> None:
        now = self.clock.wall_us()
        body = batches.encode(
            Batch(gateway=gateway.name, epoch=gateway.epoch, stream=stream, time=Time("boot", 1, now, now), **rows)
        )
        batch = batches.decode(body)
        readings = tuple(messages.decode_record(row.body) for row in batch.records)
        sealed = Envelope(alg="ed25519", key_id=b"key", body=body, signature=b"signature")
        with self.database.writing() as connection:
            archive.write(connection, [BatchArrival(gateway.place.tenant, batch, readings, sealed, body)], now)


def a_day(floor: Floor) -> dict[str, Gateway]:
    """A quarter of an hour of a small fleet: one gateway drifts and buffers, one is offline, one never spoke."""
    acme = {"enterprise": "Acme Metals", "timezone": "Europe/Berlin"}
    south = {"site": "Werk Süd", **acme}
    press = {"area": "Hall 2", "line": "Press line", **south}
    oven = {"site": "Werk Nord", "area": "Hall 1", "line": "Coating", **acme}
    press_1 = floor.enrol("press-1", cell="Station 1", labels={"camera": "A2"}, **press)
    press_2 = floor.enrol("press-2", cell="Station 2", **press)
    pump_1 = floor.enrol("pump-1", area="Hall 5", line="Pump test", cell="Bench A", **south)
    oven_3 = floor.enrol("oven-3", cell="Oven exit", **oven)
    oven_4 = floor.enrol("oven-4", cell="Oven entry", **oven)
    every = {each.name: each for each in (press_1, press_2, pump_1, oven_3, oven_4)}
    floor.clock.advance(-16 * 60)
    for gateway in (press_1, press_2, pump_1, oven_3):
        floor.record(gateway, Stream.EVENTS, Started(agent_version="0.1.0", clean=True))
    for minute in range(16):
        floor.clock.advance(60)
        _minute(floor, every, minute)
    floor.record(press_1, Stream.EVENTS, Started(agent_version="0.1.0", clean=False, recovered=3))
    floor.judge(press_2, "surface", SURFACE, mixture(412, ng=2), over_us=20_000_000, arrive=False)
    for gateway in (press_1, press_2, pump_1):
        floor.state(gateway)
    return every


def _minute(floor: Floor, every: dict[str, Gateway], minute: int) -> None:
    press_1, press_2, pump_1, oven_3 = (every[name] for name in ("press-1", "press-2", "pump-1", "oven-3"))
    floor.judge(press_1, "surface", SURFACE, mixture(590 + minute * 37 % 30, ng=2 + minute % 3, review=2))
    floor.judge(pump_1, "engine", ENGINE, mixture(120, ng=1, uninspected=minute == 3))
    if minute < 15:
        many = 3 if minute < 12 else 9
        floor.judge(press_2, "surface", SURFACE, mixture(600, ng=many, review=2, uninspected=2 * (minute == 7)))
    if minute < 9:
        floor.judge(oven_3, "coating", COATING, mixture(300, ng=1, review=1))
    if minute == 8:
        floor.count(oven_3, "coating", COATING, n=212)
        floor.state(oven_3)
        floor.silence(oven_3)
    if minute in (10, 11):
        wrong = minute == 10
        floor.record(press_2, Stream.EVENTS, Fault(part="output", name="plc", reason="timeout", active=wrong))
    if minute % 2 == 0 or minute > 12:
        floor.count(press_1, "surface", SURFACE)
        floor.count(press_2, "surface", SURFACE, **({"luma_mean": -2.6, "score": 0.7} if minute > 12 else {}))
        floor.count(pump_1, "engine", ENGINE)


def mixture(n: int, ng: int = 0, review: int = 0, uninspected: int = 0) -> list[Verdict]:
    """`n` verdicts in a fixed, well-mixed order."""
    every = [Verdict.NG] * ng + [Verdict.REVIEW] * review + [Verdict.UNINSPECTED] * uninspected
    every += [Verdict.OK] * (n - len(every))
    random.Random(3).shuffle(every)  # noqa: S311
    return every


def _account(gateway: Gateway, stream: str, lose: int) -> StreamAccount:
    last, held = gateway.produced[stream], gateway.held.get(stream, 0)
    produced = last + (lose if stream == Stream.VERDICTS else 0)
    return StreamAccount(gateway.epoch, stream, produced, ((last - held + 1, last),) if held else ())


def _pipeline(name: str, model: Model, gateway: Gateway) -> PipelineState:
    totals = gateway.totals.get(name, {})
    digest, n = model.digest.hex(), sum(totals.values())
    wanted, step, refusal = gateway.updates.get(name, ("", "", ""))
    return PipelineState(
        name, model.name, model.version, digest, model.variant, n, totals, 4.1, 9.7, ready=True,
        wanted=wanted, step=step, refusal=refusal,
    )  # fmt: skip
