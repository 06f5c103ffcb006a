"""What the gateway says of itself, to the hub in `up/state` and to the operator in `status`: made when asked for."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from edge_agent import __version__
from edge_agent.clock import Clock
from edge_agent.config import Config
from edge_agent.inference.hardware import CHOOSING_FLAGS, architecture, cpu_flags
from edge_agent.inference.model import Model
from edge_agent.inference.pipeline import Pipeline
from edge_agent.monitoring.watch import Watch
from edge_agent.serving.metrics import rss_bytes
from edge_agent.station import Station
from edge_agent.telemetry.outbox import Outbox
from edge_agent.updates.updates import Standing
from edge_protocol.bundle import FEATURES
from edge_protocol.messages import GatewayState, Metrics, PipelineState, Place


class Reporter:
    """Looks at the parts and puts together what they say."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        outbox: Outbox,
        *,
        pipelines: Mapping[str, Pipeline],
        watches: Mapping[str, Watch],
        stations: Sequence[Station],
        standing: Callable[[str], Standing] = lambda _pipeline: Standing(),
        updates: str = "off",
        limits: Callable[[str, Model], Any] = lambda _pipeline, _model: {},
    ) -> None:
        """To be made before the stations take anything: what is on record then are the triggers of earlier runs.

        `standing` says where the update of a pipeline is, `updates` whether there are any: `on`, or off and why;
        `limits` what its guard trusts.
        """
        self._config = config
        self._clock = clock
        self._outbox = outbox
        self._pipelines = pipelines
        self._watches = watches
        self._stations = stations
        self._standing = standing
        self._updates = updates
        self._limits = limits
        self._arch, self._cpu_flags = architecture(), tuple(sorted(CHOOSING_FLAGS & cpu_flags()))
        self._before = outbox.totals()

    def state(self) -> GatewayState:
        """The message for the hub."""
        gateway = self._config.gateway
        place = Place(
            tenant=gateway.tenant,
            enterprise=gateway.enterprise,
            site=gateway.site,
            area=gateway.area,
            line=gateway.line,
            cell=gateway.cell,
            timezone=gateway.timezone,
            labels=gateway.labels,
        )
        return GatewayState(
            gateway=gateway.id,
            agent_version=__version__,
            place=place,
            time=self._clock.time(),
            sent_us=self._clock.wall_us(),
            streams=self._outbox.accounts(),
            pipelines=self.pipelines(),
            features=tuple(sorted(FEATURES)),
            config_digest=self._config.digest,
            arch=self._arch,
            cpu_flags=self._cpu_flags,
        )

    def metrics(self) -> Metrics:
        """The record of the stream `metrics`: memory, and each pipeline's latencies."""
        values = {"rss_bytes": float(rss_bytes())}
        for pipeline in self.pipelines():
            values |= {f"{pipeline.name}.p50_ms": pipeline.p50_ms, f"{pipeline.name}.p99_ms": pipeline.p99_ms}
        return Metrics(values=values)

    def status(self, faults: list[str]) -> dict[str, Any]:
        """What the operator is told, as JSON."""
        drift = {
            name: {signal: msgspec.to_builtins(found) for signal, found in latest.findings.items()}
            for name, watch in self._watches.items()
            if (latest := watch.latest) is not None
        }
        state = msgspec.to_builtins(self.state())
        limits = {name: self._limits(name, pipeline.model) for name, pipeline in self._pipelines.items()}
        return {"state": state, "faults": faults, "drift": drift, "limits": limits, "updates": self._updates}

    def pipelines(self) -> tuple[PipelineState, ...]:
        """Each pipeline with what it runs and what it has done."""
        totals = self._outbox.totals()
        return tuple(self._pipeline(name, pipeline, totals.get(name, {})) for name, pipeline in self._pipelines.items())

    def _pipeline(self, name: str, pipeline: Pipeline, verdicts: dict[str, int]) -> PipelineState:
        model, latency = pipeline.model, self._watches[name].latency
        standing = self._standing(name)
        taken = sum(station.taken[name] for station in self._stations)
        return PipelineState(
            name=name,
            model=model.manifest.name,
            version=model.manifest.version,
            digest=model.digest,
            variant=model.variant,
            triggers=sum(self._before.get(name, {}).values()) + taken,
            verdicts=verdicts,
            p50_ms=round(latency.p50_ms, 3),
            p99_ms=round(latency.p99_ms, 3),
            ready=not pipeline.quarantined,
            wanted=standing.wanted,
            step=standing.step,
            refusal=standing.refusal,
            operating_point=model.point_digest.hex(),
        )
