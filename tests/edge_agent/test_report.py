import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_agent import __version__, config
from edge_agent.clock import FixedClock
from edge_agent.inference.hardware import CHOOSING_FLAGS, architecture, cpu_flags
from edge_agent.inference.intake import Intake
from edge_agent.inference.model import Model
from edge_agent.inference.pipeline import Pipeline
from edge_agent.judgement import Judgement
from edge_agent.monitoring.faults import Faults
from edge_agent.monitoring.watch import Watch
from edge_agent.report import Reporter
from edge_agent.sample import Sample, Trigger
from edge_agent.sources.triggers import Tick
from edge_agent.station import Station
from edge_agent.store import Store
from edge_agent.telemetry.outbox import Outbox
from edge_protocol import messages
from edge_protocol.codes import ClockState, Reason, Verdict
from edge_protocol.messages import GatewayState, PipelineState, Place
from tests.edge_agent.inference import small_bundles

NEVER = threading.Event()
TOML: dict[str, Any] = {
    "gateway": {"id": "press-1", "site": "north", "line": "stamping", "labels": {"crew": "A"}},
    "sources": [{"kind": "folder", "name": "camera", "path": "in"}],
    "triggers": [{"kind": "source", "name": "part", "source": "camera"}],
    "pipelines": [{"name": "seal", "bundle": "small", "source": "camera", "trigger": "part"}],
}


class Nothing:
    """A source without samples, and a ticker that always ticks."""

    def open(self) -> None:
        pass

    def waiting(self, mono_us: int) -> bool:
        return True

    def grab(self, trigger: Trigger) -> Sample:
        return Sample(fault=Reason.SOURCE_FAULT)

    def done(self, trigger: Trigger, verdict: Verdict) -> None:
        pass

    def close(self) -> None:
        pass

    def poll(self, mono_us: int) -> Tick | None:
        return Tick(mono_us)

    def idle_s(self, mono_us: int) -> float:
        return 0.0


class Gateway:
    """The parts that a report looks at."""

    def __init__(self, folder: Path, model: Model) -> None:
        self.config = config.parse(TOML, folder)
        self.clock = FixedClock()
        self.model = model
        self.store = Store.open(folder / "lineside.db", quota_bytes=16 * 2**20, clock=self.clock)
        self.outbox = Outbox(self.store, "press-1")
        self.intake = Intake.open(folder / "intake.ring", boot="boot-1", epoch=self.store.epoch)
        self.watch = Watch("seal", pane_rows=10, pane_s=60)
        self.watch.begin(model.digest, model.reference)
        self.pipeline = Pipeline("seal", model, guard=lambda _look: Reason.NONE, emit=self._emit, clock=self.clock)
        nothing = Nothing()
        self.station = Station(
            "part", nothing, {"camera": nothing}, {"camera": [self.pipeline]},
            intake=self.intake, clock=self.clock, faults=Faults(lambda _stream, _record: None),
        )  # fmt: skip

    def report(self) -> Reporter:
        """A report of a process that starts now."""
        return Reporter(
            self.config,
            self.clock,
            self.outbox,
            pipelines={"seal": self.pipeline},
            watches={"seal": self.watch},
            stations=[self.station],
        )

    def _emit(self, judgement: Judgement) -> None:
        self.outbox.append([judgement])
        self.watch.add([judgement])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model."""
    return Model.load(small_bundles.write_window_bundle(tmp_path_factory.mktemp("bundle")))


@pytest.fixture
def gateway(tmp_path: Path, model: Model) -> Iterator[Gateway]:
    """A gateway that has not judged anything."""
    gateway = Gateway(tmp_path, model)
    yield gateway
    gateway.intake.close()
    gateway.store.close()


def test_the_state_says_who_where_and_what(gateway: Gateway) -> None:
    """Name, place, version, features, configuration and clock, as the configuration and the build have them."""
    state = gateway.report().state()

    assert (state.gateway, state.agent_version, state.config_digest) == ("press-1", __version__, gateway.config.digest)
    assert state.place == Place(site="north", line="stamping", labels={"crew": "A"})
    assert "window-classification" in state.features
    assert (state.time.clock, state.sent_us) == (ClockState.OK, gateway.clock.wall_us())
    assert state.arch == architecture()
    assert set(state.cpu_flags) == cpu_flags() & CHOOSING_FLAGS


def test_a_pipeline_that_has_done_nothing_is_reported(gateway: Gateway, model: Model) -> None:
    """Before its first part the hub already knows which model runs where."""
    (pipeline,) = gateway.report().state().pipelines

    assert pipeline == PipelineState(
        "seal", "small-window", "1.0.0", model.digest, "fp32", triggers=0, verdicts={}, ready=True
    )


def test_triggers_and_verdicts_go_on_over_a_restart(gateway: Gateway) -> None:
    """What is counted is since the database was made: a new process adds to it."""
    first = gateway.report()
    gateway.station.step(NEVER)
    gateway.pipeline.step(0)
    gateway.station.taken.clear()  # what a new process begins with
    second = gateway.report()
    gateway.station.step(NEVER)

    before, after = first.pipelines()[0], second.pipelines()[0]

    assert before.verdicts["UNINSPECTED"] == 1
    assert (after.triggers, after.verdicts["UNINSPECTED"]) == (2, 1)


def test_the_account_is_in_the_state(gateway: Gateway) -> None:
    """What was produced and is held stands there for each stream, as the outbox has it."""
    report = gateway.report()
    gateway.station.step(NEVER)
    gateway.pipeline.step(0)

    state = report.state()

    assert state.streams == gateway.outbox.accounts()
    assert [(each.stream, each.produced, each.held) for each in state.streams] == [("verdicts", 1, ((1, 1),))]


def test_the_state_fits_the_wire(gateway: Gateway) -> None:
    """What is made is what comes out at the other end, and a message can carry it."""
    state = gateway.report().state()

    raw = messages.encode(state)

    assert messages.decode(GatewayState, raw) == state
    assert len(raw) < messages.MAX_MESSAGE_BYTES


def test_status_is_json(gateway: Gateway) -> None:
    """The operator's answer is plain JSON with the faults in words."""
    status = gateway.report().status(["source camera: away"])

    decoded = json.loads(msgspec.json.encode(status))

    assert decoded["faults"] == ["source camera: away"]
    assert decoded["state"]["gateway"] == "press-1"


def test_metrics_carry_their_units(gateway: Gateway) -> None:
    """Memory and each pipeline's latencies, all numbers, by names that say the unit."""
    values = gateway.report().metrics().values

    assert values["rss_bytes"] > 2**20
    assert set(values) == {"rss_bytes", "seal.p50_ms", "seal.p99_ms"}
