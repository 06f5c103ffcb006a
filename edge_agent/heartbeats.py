"""The agent's parts come in, what keeps asking its live engines for their goldens goes out, on a thread of its own.

Calls into the other rooms are handed over here, so that none of them knows another.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge_agent import assembly
from edge_agent.clock import Clock
from edge_agent.config import Config
from edge_agent.errors import StoreError
from edge_agent.inference import memory, selftest
from edge_agent.inference.model import Model
from edge_agent.inference.pipeline import Pipeline
from edge_agent.inference.tuning import Plan
from edge_agent.monitoring import checks
from edge_agent.monitoring.faults import Faults
from edge_agent.monitoring.heartbeat import Around, Heartbeat
from edge_agent.store import Store
from edge_agent.updates.updates import Updates
from edge_protocol import bundle
from edge_protocol.errors import ManifestError

log = logging.getLogger(__name__)

NICE = 10
"""What is prepared here gives way to the line."""

TICK_S = 0.25
PAUSE_S = 60.0
"""After something failed that nobody expected: the line goes on, and is asked again."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What heartbeats need of the running agent."""

    pipelines: Mapping[str, Pipeline]
    store: Store
    faults: Faults
    clock: Clock
    begin: Callable[[str, Model], None]
    updates: Updates | None


class Heartbeats:
    """Those of all pipelines."""

    def __init__(self, config: Config, parts: Parts) -> None:
        self._parts = parts
        self._environment = selftest.environment()
        every_us = round(config.monitoring.heartbeat_s * 1e6)
        self._each = {
            table.name: Heartbeat(
                parts.pipelines[table.name], _around(config, table.name, parts, self._environment), every_us=every_us
            )
            for table in config.pipelines
        }

    def begin(self) -> None:
        """Before the line runs: what has not passed with these libraries on this processor is checked now."""
        for name, each in self._each.items():
            model, known = self._parts.pipelines[name].model, ""
            with suppress(StoreError):  # Not known, then: checked.
                known = checks.passed(self._parts.store, model.digest, model.variant)
            each.begin(self._parts.clock.mono_us(), is_known=known == self._environment)

    def keep(self, done: threading.Event) -> None:
        """Ask until `done`. Whatever goes wrong here is told, and the line goes on."""
        while not done.wait(TICK_S):
            try:
                for each in self._each.values():
                    each.step(self._parts.clock.mono_us())
            except Exception as error:
                log.exception("a heartbeat failed in a way nobody expected")
                told = f"{type(error).__name__}: {error}"
                self._parts.faults.tell("heartbeats", "failed", active=True, detail=told)
                done.wait(PAUSE_S)
                self._parts.faults.tell("heartbeats", "failed", active=False)

    def unready(self) -> dict[str, str]:
        """Pipelines whose engine is quarantined, and why; and those that have not passed in this run of the agent."""
        awaited = {name: "it is being asked its goldens" for name, each in self._each.items() if each.is_awaited}
        return awaited | {
            name: f"it is quarantined: {each.problem}" for name, each in self._each.items() if each.problem
        }


def _around(config: Config, name: str, parts: Parts, environment: str) -> Around:
    table = next(table for table in config.pipelines if table.name == name)
    store, pipeline = parts.store, parts.pipelines[name]

    def folder(model: Model) -> Path | None:
        places = (config.data_dir / "slots" / model.digest, config.data_dir / "bundles" / table.bundle)
        return next((place for place in places if _digest(place) == model.digest), None)

    def passed(model: Model) -> None:
        with suppress(StoreError):  # It is checked again at the next start.
            checks.keep(store, model.digest, model.variant, environment)

    def failed(model: Model) -> None:
        with suppress(StoreError):
            checks.forget(store, model.digest)

    def install(before: Model, model: Model) -> None:
        if pipeline.replace(before, model, assembly.make_guard(table, model)):
            parts.begin(name, model)
            memory.release()

    def fall_back(digest: str, reason: str) -> bool:
        return parts.updates is not None and parts.updates.distrust(name, digest, reason)

    return Around(
        folder=folder,
        tell=lambda reason, active, detail: parts.faults.tell(f"pipeline {name}", reason, active=active, detail=detail),
        passed=passed,
        failed=failed,
        # Without the cache: what was derived may be what is wrong.
        load=_load,
        install=install,
        fall_back=fall_back,
    )


def _load(folder: Path, model: Model) -> Model:
    options = model.engine.options
    return Model.load(folder, variant=model.variant, plan=Plan(model.variant, options.threads, arena=options.arena))


def _digest(folder: Path) -> str:
    try:
        return bundle.read(folder)[1]
    except ManifestError:
        return ""
