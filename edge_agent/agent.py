"""The only file that sees all rooms: a configuration comes in, a running gateway goes out, and it ends in order.

Threads: one for each trigger, one for each pipeline, one that tells the line, one that records, one that talks to the
hub. Never judges, records or sends itself.
"""

import gc
import json
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from time import monotonic

from edge_agent import assembly, durable, recovery
from edge_agent.clock import Clock
from edge_agent.config import Config
from edge_agent.crew import Crew
from edge_agent.delivery import Delivery
from edge_agent.errors import AgentError
from edge_agent.inference.intake import Intake
from edge_agent.judgement import Judgement
from edge_agent.monitoring.faults import Faults, InputFaults
from edge_agent.monitoring.watch import Watch
from edge_agent.report import Reporter
from edge_agent.serving.http import Answers, Server
from edge_agent.serving.metrics import Metrics
from edge_agent.store import Store
from edge_agent.systemd import Systemd
from edge_agent.telemetry.outbox import Outbox
from edge_agent.telemetry.recorder import Recorder
from edge_protocol.codes import Stream
from edge_protocol.messages import AnyRecord, Stopped

TICK_S = 0.5
STEP_S = 0.1
SEND_S = 0.2
METRICS_S = 60.0


class Agent:
    """A wired gateway. Made from a configuration; `run` it once."""

    def __init__(self, config: Config) -> None:
        """Raises AgentError: something it names is missing, wrong, taken or not writable; nothing was half-made."""
        models = assembly.load_models(config)
        identity = assembly.load_identity(config)
        with ExitStack() as undo:
            self._config = config
            self._clock = Clock()
            self._store = Store.open(
                config.data_dir / "lineside.db", quota_bytes=config.store.quota_mb * 2**20, clock=self._clock
            )
            undo.callback(self._store.close)
            keep = config.store
            self._outbox = Outbox(
                self._store,
                config.gateway.id,
                bytes.fromhex(config.digest),
                keep_rows=keep.keep_rows,
                keep_us=keep.keep_days * 86_400_000_000,
            )
            after, _ = self._outbox.last_verdict()
            boot = self._clock.time().boot
            self._intake = Intake.open(config.data_dir / "intake.ring", boot=boot, epoch=self._store.epoch, after=after)
            undo.callback(self._intake.close)
            self._recorder = Recorder(
                self._outbox,
                self._intake,
                self._clock,
                commit_s=keep.commit_s,
                commit_rows=keep.commit_rows,
                after_commit=self._committed,
            )
            self._faults = Faults(self._record)
            self._inputs = InputFaults(self._faults)
            self._metrics = Metrics(assembly.buffered(self._outbox))
            self._pipelines = assembly.make_pipelines(config, models, self._clock, self._emit, self._metrics)
            pane = config.monitoring
            self._watches = {
                name: Watch(name, pane_rows=pane.pane_rows, pane_s=pane.pane_s) for name in self._pipelines
            }
            self._stations = assembly.make_stations(config, self._pipelines, self._intake, self._clock, self._faults)
            self._delivery = Delivery(
                assembly.make_outputs(config),
                intake=self._intake,
                recorder=self._recorder,
                clock=self._clock,
                answered=self._answered,
            )
            for station in self._stations:
                station.open()
            self._delivery.open()
            self._untold = recovery.recover(self._store, self._outbox, self._intake, self._clock)
            self._report = Reporter(
                config,
                self._clock,
                self._outbox,
                pipelines=self._pipelines,
                watches=self._watches,
                stations=self._stations,
            )
            self._crew = Crew()
            self._server = Server(config.serving.host, config.serving.port, self._answers())
            undo.callback(self._server.close)
            self._uplink = assembly.make_uplink(config, identity, self._outbox, self._clock, self._report.state)
            undo.pop_all()

    def run(self, stop: threading.Event, ready: Callable[[], None] = lambda: None) -> None:
        """Run until `stop` is set, then end in order: no trigger without its verdict, no record without its commit.

        Raises:
            AgentError: a thread of the agent ended by itself.
        """
        for name, pipeline in self._pipelines.items():
            self._watches[name].begin(pipeline.model.digest, pipeline.model.reference)
        address = {"host": self._config.serving.host, "port": self._server.port}
        durable.write_file(self._config.data_dir / "serving.json", json.dumps(address).encode())
        # What is loaded now stays: the collector need not look at it while parts are judged.
        gc.freeze()
        line, quiet, done = threading.Event(), threading.Event(), threading.Event()
        self._start(line, quiet, done)
        ready()
        self._supervise(stop)
        Systemd().stopping()
        line.set()
        self._crew.join("line")
        quiet.set()
        self._crew.join("judge")
        self._delivery.close()
        self._crew.join("tell")
        self._end_records("; ".join(self._crew.failures) or "asked to")
        done.set()
        self._crew.join("record")
        self._close()
        if self._crew.failures:
            message = f"the agent stopped because {self._crew.failures[0]}"
            raise AgentError(message, "its log says more; what restarts it loses nothing")

    def _start(self, line: threading.Event, quiet: threading.Event, done: threading.Event) -> None:
        start = self._crew.start
        start("record", "record", lambda: self._keep_recording(done))
        start("tell", "tell", lambda: self._delivery.run(self._alive))
        for judgement in self._untold:
            self._delivery.tell(judgement)
        for name, pipeline in self._pipelines.items():
            start("judge", f"judge-{name}", lambda pipeline=pipeline: _exhaust(pipeline.step, quiet))  # type: ignore[misc]
        if self._uplink is not None:
            self._uplink.start()
            start("send", "send", lambda: self._keep_sending(done))
        for station in self._stations:
            start("line", f"line-{station.name}", lambda station=station: station.run(line))  # type: ignore[misc]
        if self._store.check_needed:
            start("check", "check", self._check)

    def _supervise(self, stop: threading.Event) -> None:
        systemd = Systemd()
        systemd.ready()
        next_metrics_s = monotonic() + METRICS_S
        while not stop.wait(TICK_S) and not self._crew.failures:
            systemd.watchdog()
            now_us = self._clock.wall_us()
            for watch in self._watches.values():
                if (pane := watch.expire(now_us)) is not None:
                    self._record(Stream.DRIFT, pane)
            if monotonic() >= next_metrics_s:
                next_metrics_s += METRICS_S
                self._record(Stream.METRICS, self._report.metrics())

    def _keep_recording(self, done: threading.Event) -> None:
        while not done.is_set():
            if not self._recorder.step():
                self._recorder.wait(TICK_S)

    def _keep_sending(self, done: threading.Event) -> None:
        while self._uplink is not None and not done.is_set():
            if not self._uplink.step():
                self._uplink.wait(SEND_S)

    def _emit(self, judgement: Judgement) -> None:
        self._delivery.emit(judgement)
        self._metrics.count_verdict(judgement.pipeline, judgement.verdict)

    def _answered(self, judgement: Judgement) -> None:
        for station in self._stations:
            if judgement.pipeline in station.pipelines:
                station.answered(judgement)

    def _committed(self, judgements: Sequence[Judgement]) -> None:
        for name, watch in self._watches.items():
            for pane in watch.add([judgement for judgement in judgements if judgement.pipeline == name]):
                self._record(Stream.DRIFT, pane)
        for judgement in judgements:
            self._inputs.add(judgement)
        self._delivery.committed(judgements)

    def _end_records(self, reason: str) -> None:
        for watch in self._watches.values():
            if (pane := watch.cut()) is not None:
                self._record(Stream.DRIFT, pane)
        self._record(Stream.EVENTS, Stopped(reason=reason))
        self._recorder.flush()

    def _close(self) -> None:
        if self._uplink is not None:
            self._crew.join("send")
            assembly.drain(self._uplink, self._outbox)
            self._uplink.close()
        for close in (self._server.close, self._delivery.close_outputs, self._intake.close, self._store.close):
            close()
        for station in self._stations:
            station.close()

    def _check(self) -> None:
        if findings := self._store.run_check():
            self._faults.tell("store", "damaged", active=True, detail=findings)

    def _alive(self) -> list[str]:
        return [] if self._crew.failures else list(self._pipelines)

    def _record(self, stream: Stream, record: AnyRecord) -> None:
        self._recorder.record(stream, record)

    def _answers(self) -> Answers:
        failures = self._crew.failures
        return Answers(
            metrics=self._metrics.render,
            live=lambda: failures,
            ready=lambda: [*failures, *self._faults.active()],
            status=lambda: self._report.status(self._faults.active()),
        )


def _exhaust(step: Callable[[float], bool], quiet: threading.Event) -> None:
    """Step until there is nothing left to do and `quiet` says that nothing will come."""
    while step(STEP_S) or not quiet.is_set():
        pass
