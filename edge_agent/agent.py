"""The only file that sees all rooms: a configuration comes in, a running gateway goes out, and it ends in order.

Threads: one for each trigger, one for each pipeline, one that tells the line, one that records, one that talks to the
hub, one that renews the models, one that asks for goldens. Never judges, records or sends itself.
"""

import gc
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from time import monotonic
from typing import Any

from edge_agent import assembly, durable, heartbeats, identity, recovery, renewals
from edge_agent.assembly import Surroundings
from edge_agent.clock import Clock
from edge_agent.config import Config
from edge_agent.crew import Crew
from edge_agent.delivery import Delivery
from edge_agent.errors import RunError, StoreError
from edge_agent.heartbeats import Heartbeats, Parts
from edge_agent.inference import memory
from edge_agent.inference.intake import Intake
from edge_agent.inference.model import Model
from edge_agent.inference.pipeline import Pipeline
from edge_agent.judgement import Judgement
from edge_agent.monitoring.faults import Faults, InputFaults
from edge_agent.monitoring.watch import Watch
from edge_agent.neighbours import Neighbours
from edge_agent.neighbours import Parts as Known
from edge_agent.report import Reporter
from edge_agent.serving.metrics import Metrics
from edge_agent.store import Store
from edge_agent.systemd import Systemd
from edge_agent.telemetry.outbox import Outbox
from edge_agent.telemetry.recorder import Recorder
from edge_agent.updates.updates import Standing
from edge_protocol.codes import Stream
from edge_protocol.messages import AnyRecord, Outcome, Stopped, Want

log = logging.getLogger(__name__)

TICK_S = 0.5
STEP_S = 0.1
BEAT_LIMIT_S = 3.0
"""Silence of a judging thread after which the line hears no heartbeat of its pipeline, and rejects."""

HANG_S = 20.0
"""Silence of a thread after which systemd hears no watchdog, and replaces the process."""

SEND_S = 0.2
UPDATE_PAUSE_S = 30.0
"""After something in an update failed that nobody expected: the line goes on, and it is tried again."""

METRICS_S = 60.0


class Agent:
    """A wired gateway. Made from a configuration; `run` it once."""

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        """Raises AgentError: something it names is missing, wrong, taken or not writable; nothing was half-made."""
        with ExitStack() as undo:
            around = assembly.gather(config, undo)
            self._config = config
            self._clock = clock or Clock()
            self._crew = Crew()
            self._open_data(around, undo)
            assembly.open_outputs(around, undo)
            self._metrics = Metrics(assembly.buffered(self._outbox))
            self._faults = Faults(self._record)
            self._inputs = InputFaults(
                self._faults, [each.name for each in config.pipelines if each.policy == "sample"]
            )
            self._ledger = renewals.make_ledger(self._store, self._outbox)
            models = renewals.running_models(config, self._store, self._ledger, around)
            self._wire(around, models)
            # Last of all that can fail: what it puts on record is told to the line by this process.
            self._recovered = recovery.recover(
                self._store, self._outbox, self._intake, self._clock, self._pipelines.keys()
            )
            for station in self._stations:
                station.resume(self._recovered.left)
            self._report = Reporter(
                config,
                self._clock,
                self._outbox,
                pipelines=self._pipelines,
                watches=self._watches,
                stations=self._stations,
                standing=self._standing,
                updates=identity.why_no_updates(config) or "on",
                limits=assembly.guard_limits(config),
            )
            self._uplink = assembly.make_uplink(config, around, self._outbox, self._clock, self._report.state)
            about = renewals.Around(self._pipelines, self._want, self._begin, self._is_silent, self._outbox)
            self._updates = renewals.make_updates(config, self._store, self._ledger, self._clock, about)
            parts = Parts(self._pipelines, self._store, self._faults, self._clock, self._begin, self._updates)
            self._heartbeats = Heartbeats(config, parts)
            unready, faults = self._heartbeats.unready, self._faults.active
            guard = assembly.question_guards(config)
            known = Known(self._pipelines, self._metrics, self._clock, self._dead, unready, faults, self._status, guard)
            self._neighbours = Neighbours(known)
            self._server = around.server
            undo.callback(self._server.close)
            self._closing = undo.pop_all()

    def run(self, stop: threading.Event, ready: Callable[[], None] = lambda: None) -> None:
        """Run until `stop` is set, then end in order: no trigger without its verdict, no record without its commit.

        Raises:
            RunError: a thread of the agent ended by itself.
        """
        for name, pipeline in self._pipelines.items():
            self._begin(name, pipeline.model)
        self._heartbeats.begin()
        self._tell_address()
        # What is loaded now stays: the collector need not look at it while parts are judged.
        memory.release()
        gc.freeze()
        line, quiet, done = threading.Event(), threading.Event(), threading.Event()
        self._start(line, quiet, done)
        ready()
        self._supervise(stop)
        Systemd().stopping()
        self._end(line, quiet, done)
        if self._crew.failures:
            message = f"the agent stopped because {self._crew.failures[0]}"
            raise RunError(message, "its log says more; what restarts it loses nothing")

    def _open_data(self, around: Surroundings, undo: ExitStack) -> None:
        keep, folder = self._config.store, self._config.data_dir
        self._store = Store.open(folder / assembly.DATABASE, quota_bytes=keep.quota_mb * 2**20, clock=self._clock)
        undo.callback(self._store.close)
        self._outbox = Outbox(
            self._store,
            self._config.gateway.id,
            bytes.fromhex(self._config.digest),
            keep_rows=keep.keep_rows,
            keep_us=keep.keep_days * 86_400_000_000,
            owing=assembly.owing(around.outputs),
        )
        after, _ = self._outbox.last_verdict()
        boot = self._clock.time().boot
        self._intake = Intake.open(
            folder / "intake.ring", boot=boot, epoch=self._store.epoch, after=after, owed_from=self._outbox.owed_from()
        )
        undo.callback(self._intake.close)
        self._recorder = Recorder(
            self._outbox,
            self._intake,
            self._clock,
            commit_s=keep.commit_s,
            commit_rows=keep.commit_rows,
            after_commit=self._committed,
        )

    def _wire(self, around: Surroundings, models: Mapping[str, Model]) -> None:
        config, pane = self._config, self._config.monitoring
        self._exhibits = assembly.make_exhibits(config, lambda n: self._pipelines[n].model, self._clock, self._record)
        self._pipelines = assembly.make_pipelines(
            config, models, self._clock, self._emit, self._metrics, exhibit=self._exhibits.show
        )
        self._watches = {name: Watch(name, pane_rows=pane.pane_rows, pane_s=pane.pane_s) for name in self._pipelines}
        self._stations = assembly.make_stations(
            config,
            around.sources,
            self._pipelines,
            self._metrics,
            intake=self._intake,
            clock=self._clock,
            faults=self._faults,
            recorded=lambda: {} if self._store.was_clean else self._outbox.numbers(),
        )
        self._delivery = Delivery(
            around.outputs,
            intake=self._intake,
            recorder=self._recorder,
            clock=self._clock,
            answered=self._answered,
            told=self._told,
        )

    def _tell_address(self) -> None:
        address = {"host": self._config.serving.host, "port": self._server.port}
        try:
            durable.write_file(self._config.data_dir / "serving.json", json.dumps(address).encode())
        except OSError as error:  # a full disk: the line goes on, the operator's verbs ask the database instead
            log.warning("serving.json cannot be written: %s", error.strerror)

    def _start(self, line: threading.Event, quiet: threading.Event, done: threading.Event) -> None:
        start = self._crew.start
        self._server.start(self._neighbours.site())
        start("record", "record", lambda: self._keep_recording(done))
        start("tell", "tell", lambda: self._delivery.run(self._alive))
        start("show", "show", lambda: self._exhibits.run(done), nice=assembly.SHOW_NICE)
        self._delivery.resume(self._recovered.answered, self._recovered.unanswered, self._outbox.letters())
        nice = assembly.niceness(self._config)
        for name, pipeline in self._pipelines.items():
            start("judge", _judge(name), partial(self._keep_judging, pipeline, quiet), nice=nice[name])
        if self._uplink is not None:
            renewals.listen(self._uplink, self._config.gateway.id, self._updates)
            start("send", "send", lambda: self._keep_sending(done))
        if self._updates is not None:
            start("update", "update", lambda: self._keep_updating(done))
        start("ask", "ask", lambda: self._heartbeats.keep(quiet), nice=heartbeats.NICE)
        for station in self._stations:
            start("line", f"line-{station.name}", lambda station=station: station.run(line))  # type: ignore[misc]
        if self._store.check_needed:
            start("check", "check", self._check)

    def _supervise(self, stop: threading.Event) -> None:
        systemd = Systemd()
        systemd.ready()
        next_metrics_s = monotonic() + METRICS_S
        while not stop.wait(TICK_S) and not self._crew.failures:
            if not self._crew.silent(HANG_S):
                systemd.watchdog()
            now_us = self._clock.wall_us()
            for watch in self._watches.values():
                if (pane := watch.expire(now_us)) is not None:
                    self._record(Stream.DRIFT, pane)
            if monotonic() >= next_metrics_s:
                next_metrics_s += METRICS_S
                with suppress(StoreError):  # The recorder is the one who says that the store is at fault.
                    self._record(Stream.METRICS, self._report.metrics())

    def _end(self, line: threading.Event, quiet: threading.Event, done: threading.Event) -> None:
        """Each part ends when nothing can come to it any more."""
        line.set()
        self._crew.join("line")
        quiet.set()
        self._crew.join("judge")
        self._crew.join("ask")
        done.set()
        self._crew.join("record")
        self._crew.join("send")
        self._crew.join("update")
        self._crew.join("show")
        # Before the outputs end: some may tell only what is on disk.
        self._recorder.flush()
        self._delivery.close()
        self._crew.join("tell")
        for watch in self._watches.values():
            if (pane := watch.cut()) is not None:
                self._record(Stream.DRIFT, pane)
        self._record(Stream.EVENTS, Stopped(reason="; ".join(self._crew.failures) or "asked to"))
        if self._recorder.flush():
            with suppress(StoreError):
                self._outbox.forget_numbers()
                self._store.finish()
        if self._uplink is not None:
            assembly.drain(self._uplink, self._outbox)
        self._closing.close()

    def _keep_recording(self, done: threading.Event) -> None:
        while not done.is_set():
            self._crew.pulse("record")
            if not self._recorder.step():
                self._recorder.wait(TICK_S)

    def _keep_judging(self, pipeline: Pipeline, quiet: threading.Event) -> None:
        """Until there is nothing left to judge and `quiet` says that nothing will come."""
        name = _judge(pipeline.name)
        while pipeline.step(STEP_S) or not quiet.is_set():
            self._crew.pulse(name)

    def _keep_sending(self, done: threading.Event) -> None:
        while self._uplink is not None and not done.is_set():
            if not self._uplink.step():
                self._uplink.wait(SEND_S)

    def _keep_updating(self, done: threading.Event) -> None:
        """No update can hurt the line: whatever goes wrong here is told, and the line goes on with what it has."""
        while self._updates is not None and not done.is_set():
            self._crew.pulse("update")
            try:
                if not self._updates.step():
                    self._updates.wait(TICK_S)
            except Exception as error:
                log.exception("an update failed in a way nobody expected")
                self._faults.tell("updates", "failed", active=True, detail=f"{type(error).__name__}: {error}")
                for _ in range(round(UPDATE_PAUSE_S / TICK_S)):
                    self._crew.pulse("update")
                    if done.wait(TICK_S):
                        break
                self._faults.tell("updates", "failed", active=False)
        if self._updates is not None:
            self._updates.close()

    def _want(self, want: Want) -> bool:
        return self._uplink is not None and self._uplink.send("want", want)

    def _begin(self, pipeline: str, model: Model) -> None:
        """From here on `model` judges: its samples belong to a pane of their own."""
        if (pane := self._watches[pipeline].begin(model.digest, model.reference)) is not None:
            self._record(Stream.DRIFT, pane)
        fallback = model.engine.fallback
        self._faults.tell(f"pipeline {pipeline}", "provider-fallback", active=bool(fallback), detail=fallback)

    def _standing(self, pipeline: str) -> Standing:
        return self._updates.standing(pipeline) if self._updates is not None else Standing()

    def _is_silent(self, pipeline: str) -> bool:
        return _judge(pipeline) in self._crew.silent(BEAT_LIMIT_S)

    def _emit(self, judgement: Judgement) -> None:
        self._delivery.emit(judgement)
        self._metrics.count_verdict(judgement.pipeline, judgement.verdict)

    def _answered(self, judgement: Judgement) -> None:
        for station in self._stations:
            if judgement.pipeline in station.pipelines:
                station.answered(judgement)
        if self._updates is not None:
            self._updates.answered(judgement)

    def _told(self, outcome: Outcome) -> None:
        self._metrics.count_outcome(outcome.output, ok=outcome.ok)

    def _committed(self, judgements: Sequence[Judgement]) -> None:
        for name, watch in self._watches.items():
            for pane in watch.add([judgement for judgement in judgements if judgement.pipeline == name]):
                self._record(Stream.DRIFT, pane)
        for judgement in judgements:
            self._inputs.add(judgement)
        self._neighbours.committed(judgements)
        self._exhibits.note(judgements)
        self._delivery.committed(judgements)

    def _check(self) -> None:
        if findings := self._store.run_check():
            self._faults.tell("store", "damaged", active=True, detail=findings)

    def _alive(self) -> list[str]:
        silent = self._crew.silent(BEAT_LIMIT_S)
        return [] if self._crew.failures else [name for name in self._pipelines if _judge(name) not in silent]

    def _record(self, stream: Stream, record: AnyRecord) -> None:
        self._recorder.record(stream, record)

    def _dead(self) -> list[str]:
        return [*self._crew.failures, *(f"{name} hangs" for name in self._crew.silent(HANG_S))]

    def _status(self) -> dict[str, Any]:
        return self._report.status(self._faults.active())


def _judge(pipeline: str) -> str:
    """The name of the thread that judges for `pipeline`."""
    return f"judge-{pipeline}"
