"""A hub's database with a fleet in it: what gateways would have sent goes through the real archive."""

import hashlib
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from cloud_hub.clock import FixedClock
from cloud_hub.monitoring import alarms
from cloud_hub.storage.database import Database, insert_rows, put
from cloud_hub.storage.schema import gateways, references, states, windows
from cloud_hub.telemetry import archive
from cloud_hub.telemetry.verify import BatchArrival
from edge_protocol import batch as batches
from edge_protocol import messages
from edge_protocol.batch import Batch, Context, RecordRow, VerdictRow
from edge_protocol.codes import ClockState, Reason, Stream, Verdict
from edge_protocol.counters import Reference, count, make_signal
from edge_protocol.envelope import Envelope
from edge_protocol.messages import GatewayState, PipelineState, Place, StreamAccount, Time
from edge_protocol.statistics import MIN_COUNT, compare

MINUTE_US = 60_000_000
WHY = {Verdict.OK: Reason.NONE, Verdict.NG: Reason.SCORE_REJECT, Verdict.REVIEW: Reason.SCORE_REVIEW,
       Verdict.UNINSPECTED: Reason.UNREADABLE}  # fmt: skip


@dataclass(frozen=True)
class Model:
    """A bundle that a pipeline runs."""

    name: str
    version: str
    signals: Sequence[str]
    variant: str = "u8s8-vnni"

    @property
    def reference(self) -> Reference:
        """Counts of good samples: a bell around 100 for every signal."""
        good = np.random.default_rng(7).normal(100, 10, 2000)
        return Reference(tuple(make_signal(name, good) for name in self.signals))

    @property
    def digest(self) -> bytes:
        """A digest of its own for each version."""
        return hashlib.sha256(f"{self.name} {self.version}".encode()).digest()


SURFACE = Model("surface-anomaly", "1.4.0", ("luma_mean", "luma_std", "sharpness", "red_green", "blue_green", "score"))
ENGINE = Model("engine-fault", "0.9.2", ("rms", "kurtosis", "crest", "zero_crossings", "score"), "fp32")


@dataclass
class Gateway:
    """A gateway as the floor remembers it."""

    name: str
    place: Place
    epoch: int = 7
    produced: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    declared: dict[str, int] = field(default_factory=dict)
    pipelines: dict[str, Model] = field(default_factory=dict)
    totals: dict[str, dict[str, int]] = field(default_factory=dict)


class Floor:
    """A factory that reports to `database`, at the time of `clock`."""

    def __init__(self, database: Database, clock: FixedClock) -> None:
        self.database = database
        self.clock = clock
        self.random = random.Random(11)  # noqa: S311
        self.gateways: dict[str, Gateway] = {}

    def enrol(self, name: str, **place: object) -> Gateway:
        """A gateway that has not spoken yet."""
        gateway = self.gateways[name] = Gateway(name, Place(**place))
        row = {"id": name, "enrolled_us": self.clock.wall_us(), **msgspec.to_builtins(gateway.place)}
        row |= {key: getattr(gateway.place, key) for key in ("enterprise", "site", "area", "line", "cell", "timezone",
                                                             "labels", "tenant")}  # fmt: skip
        with self.database.writing() as connection:
            put(connection, gateways, row)
        return gateway

    def judge(
        self,
        gateway: Gateway,
        pipeline: str,
        model: Model,
        verdicts: Sequence[Verdict],
        *,
        over_us: int,
        arrive: bool = True,
    ) -> None:
        """Parts judged evenly over the last `over_us`; those that do not `arrive` wait on the gateway's disk."""
        gateway.pipelines[pipeline] = model
        totals = gateway.totals.setdefault(pipeline, {})
        first = gateway.produced.get(Stream.VERDICTS, 0) + 1
        gateway.produced[Stream.VERDICTS] = first + len(verdicts) - 1
        start = self.clock.wall_us() - over_us
        rows = []
        for i, verdict in enumerate(verdicts):
            totals[verdict.name] = totals.get(verdict.name, 0) + 1
            score = None if verdict is Verdict.UNINSPECTED else self._score(verdict)
            at_us = start + over_us * i // len(verdicts)
            latency = round(self.random.lognormvariate(8.6, 0.2))
            rows.append(
                VerdictRow(first + i, at_us, first + i, 0, verdict, WHY[verdict], score, latency, f"P{first + i:06d}")
            )
        if not arrive:
            gateway.held[Stream.VERDICTS] = gateway.held.get(Stream.VERDICTS, 0) + len(verdicts)
            return
        context = Context(pipeline, model.name, model.version, model.digest, model.variant)
        for i in range(0, len(rows), 500):
            self._send(gateway, Stream.VERDICTS, contexts=(context,), verdicts=tuple(rows[i : i + 500]))

    def record(self, gateway: Gateway, stream: Stream, *records: messages.Record) -> None:
        """Records of another stream, at this moment."""
        first = gateway.produced.get(stream, 0) + 1
        gateway.produced[stream] = first + len(records) - 1
        rows = tuple(
            RecordRow(first + i, self.clock.wall_us(), messages.encode(record)) for i, record in enumerate(records)
        )
        self._send(gateway, stream, records=rows)

    def count(self, gateway: Gateway, pipeline: str, model: Model, shift: dict[str, float], n: int = 512) -> None:
        """A window of drift counters, judged: `shift` is how many deviations each signal lies off its reference."""
        reference, now = model.reference, self.clock.wall_us()
        values = {
            name: np.random.default_rng([now, *name.encode()]).normal(100 + 10 * shift.get(name, 0.0), 10, n)
            for name in model.signals
        }
        counts = {each.name: tuple(count(each.edges, values[each.name]).tolist()) for each in reference.signals}
        findings = {
            each.name: compare(np.array(each.counts), np.array(counts[each.name])) for each in reference.signals
        }
        bundle = model.digest.hex()
        pane = messages.Pane(pipeline=pipeline, bundle=bundle, reference=reference.digest, opened_us=now - MINUTE_US,
                             closed_us=now, n=n, counts=counts)  # fmt: skip
        gateway.pipelines[pipeline] = model
        self.record(gateway, Stream.DRIFT, pane)
        with self.database.writing() as connection:
            put(connection, references, {"digest": reference.digest, "body": reference.canonical()})
        if n < MIN_COUNT:
            return
        row = (gateway.name, pipeline, bundle, reference.digest, now - MINUTE_US, now, n,
               msgspec.msgpack.encode(counts), msgspec.msgpack.encode(findings))  # fmt: skip
        names = ("gateway", "pipeline", "bundle", "reference", "opened_us", "closed_us", "n", "counts", "findings")
        with self.database.writing() as connection:
            insert_rows(connection, windows, names, [row])

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
            streams=tuple(self._account(gateway, each, lose) for each in gateway.produced),
            pipelines=tuple(pipeline_state(name, model, gateway) for name, model in gateway.pipelines.items()),
        )
        with self.database.writing() as connection:
            put(connection, states, {"gateway": gateway.name, "boot": "boot", "run": 1, "sent_us": now,
                                     "received_us": now, "body": messages.encode(state)})  # fmt: skip
            connection.execute(
                gateways.update().where(gateways.c.id == gateway.name)
                .values(last_seen_us=now, agent_version="0.1.0", link_online=True, link_us=now)
            )  # fmt: skip

    def silence(self, gateway: Gateway) -> None:
        """The gateway's last will: it is gone."""
        with self.database.writing() as connection:
            values = {"link_online": False, "link_us": self.clock.wall_us()}
            connection.execute(gateways.update().where(gateways.c.id == gateway.name).values(values))

    def _account(self, gateway: Gateway, stream: str, lose: int) -> StreamAccount:
        produced = gateway.produced[stream] + (lose if stream == Stream.VERDICTS else 0)
        held, shed = gateway.held.get(stream, 0), gateway.declared.get(stream, 0)
        last = gateway.produced[stream]
        return StreamAccount(gateway.epoch, stream, produced, ((last - held + 1, last),) if held else (),
                             ((last - held - shed + 1, last - held),) if shed else ())  # fmt: skip

    def _score(self, verdict: Verdict) -> float:
        middle = {Verdict.OK: 0.2, Verdict.REVIEW: 0.5, Verdict.NG: 0.8}[verdict]
        return round(middle + 0.1 * math.tanh(self.random.gauss(0, 1)), 4)

    def _send(self, gateway: Gateway, stream: str, **rows: object) -> None:
        now = self.clock.wall_us()
        batch = Batch(gateway=gateway.name, epoch=gateway.epoch, stream=stream, time=Time("boot", 1, now, now), **rows)
        body = batches.encode(batch)
        batch = batches.decode(body)
        readings = tuple(messages.decode_record(row.body) for row in batch.records)
        sealed = Envelope(alg="ed25519", key_id=b"key", body=body, signature=b"signature")
        arrival = BatchArrival(gateway.place.tenant, batch, readings, sealed, body)
        with self.database.writing() as connection:
            archive.write(connection, [arrival], now)


def mixture(n: int, ng: int = 0, review: int = 0, uninspected: int = 0) -> list[Verdict]:
    """`n` verdicts in a fixed, well-mixed order."""
    every = [Verdict.NG] * ng + [Verdict.REVIEW] * review + [Verdict.UNINSPECTED] * uninspected
    every += [Verdict.OK] * (n - len(every))
    random.Random(3).shuffle(every)  # noqa: S311
    return every


def pipeline_state(name: str, model: Model, gateway: Gateway) -> PipelineState:
    """What a gateway says of one of its pipelines."""
    totals = gateway.totals.get(name, {})
    digest, n = model.digest.hex(), sum(totals.values())
    return PipelineState(name, model.name, model.version, digest, model.variant, n, totals, 4.1, 9.7, ready=True)
