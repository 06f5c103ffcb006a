"""What the agent does comes in as it happens, Prometheus text goes out when asked. Metrics only of this agent.

A registry of its own: nothing that another library registers globally gets out, and two agents in one process do not
meet.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge_protocol.codes import Verdict

Observe: TypeAlias = Callable[[str, float], None]
"""Called with (stage, seconds)."""

STAGES = ("grab", "decode", "pre", "queue", "infer", "post", "record")
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BUCKETS_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Buffered:
    """What waits for the hub: how many records, and how long the oldest has been waiting."""

    rows: int = 0
    oldest_s: float = 0.0


class Metrics:
    """The agent's metrics. All names begin with `lineside_`."""

    def __init__(self, buffered: Callable[[], Buffered] = Buffered) -> None:
        """`buffered` is asked at each scrape, on the thread that serves it."""
        self._registry = CollectorRegistry()
        self._stages = Histogram(
            "lineside_stage_seconds",
            "Time one sample took in one stage",
            ("pipeline", "stage"),
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        self._verdicts = self._make_counter("verdicts", "Verdicts given", "pipeline", "verdict")
        self._outcomes = self._make_counter("outcomes", "Attempts to tell the line a verdict", "output", "ok")
        self._missed = self._make_counter("missed_ticks", "Ticks of a timer that found nobody asking", "trigger")
        self._registry.register(_Gauges(buffered))

    def observer(self, pipeline: str) -> Observe:
        """What a pipeline calls after each stage."""
        for stage in STAGES:  # What is there from the start shows zero, not nothing.
            self._stages.labels(pipeline, stage)
        for verdict in Verdict:
            self._verdicts.labels(pipeline, verdict.name)
        return lambda stage, seconds: self._stages.labels(pipeline, stage).observe(seconds)

    def count_verdict(self, pipeline: str, verdict: Verdict) -> None:
        """One more verdict."""
        self._verdicts.labels(pipeline, verdict.name).inc()

    def count_outcome(self, output: str, *, ok: bool) -> None:
        """One more attempt of an output."""
        self._outcomes.labels(output, "true" if ok else "false").inc()

    def count_missed(self, trigger: str, ticks: int) -> None:
        """Ticks that were missed."""
        self._missed.labels(trigger).inc(ticks)

    def render(self) -> bytes:
        """All of it as Prometheus reads it."""
        return generate_latest(self._registry)

    def _make_counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"lineside_{name}", meaning, labels, registry=self._registry)


class _Gauges(Collector):
    """What is measured only when somebody asks."""

    def __init__(self, buffered: Callable[[], Buffered]) -> None:
        self._buffered = buffered

    def collect(self) -> Iterator[Metric]:
        buffered = self._buffered()
        yield GaugeMetricFamily("lineside_buffer_rows", "Records without a receipt", buffered.rows)
        yield GaugeMetricFamily("lineside_buffer_oldest_seconds", "Age of the oldest of them", buffered.oldest_s)
        yield GaugeMetricFamily("lineside_rss_bytes", "Memory of the agent", rss_bytes())

    def describe(self) -> Iterator[Metric]:
        """Their names, without asking anybody."""
        for name in ("buffer_rows", "buffer_oldest_seconds", "rss_bytes"):
            yield GaugeMetricFamily(f"lineside_{name}", "")


def rss_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE_BYTES
