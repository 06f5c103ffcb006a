"""What the agent does comes in as it happens, Prometheus text goes out when asked. Metrics only of this agent.

A registry of its own: nothing that another library registers globally gets out, and two agents in one process do not
meet.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from edge_agent.inference.model import Model
from edge_agent.serving.histogram import Histogram
from edge_agent.serving.machine import frequency_hz, rss_bytes, temperatures, throttled
from edge_protocol.codes import Verdict

__all__ = ["CONTENT_TYPE", "STAGES", "Buffered", "Metrics", "Observe", "rss_bytes"]

Observe: TypeAlias = Callable[[str, float], None]
"""Called with (stage, seconds)."""

STAGES = ("grab", "decode", "pre", "queue", "infer", "post", "record")
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


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
        self._stages: dict[tuple[str, str], Histogram] = {}
        self._questions: dict[tuple[str, str], Histogram] = {}
        self._verdicts = self._make_counter("verdicts", "Verdicts given", "pipeline", "verdict")
        self._outcomes = self._make_counter("outcomes", "Attempts to tell the line a verdict", "output", "ok")
        self._missed = self._make_counter("missed_ticks", "Ticks of a timer that found nobody asking", "trigger")
        stage = _Histograms("stage", "Time one sample took in one stage", ("pipeline", "stage"), self._stages)
        question = _Histograms("question", "Time a neighbour's question took", ("pipeline", "kind"), self._questions)
        self._models = _ModelInfo()
        for collector in (stage, question, _Gauges(buffered), self._models):
            self._registry.register(collector)

    def observer(self, pipeline: str) -> Observe:
        """What a pipeline calls after each stage; waits for nobody."""
        # What is there from the start shows zero, not nothing.
        mine = {stage: self._stages.setdefault((pipeline, stage), Histogram()) for stage in STAGES}
        for verdict in Verdict:
            self._verdicts.labels(pipeline, verdict.name)
        return lambda stage, seconds: mine[stage].observe(seconds)

    def count_verdict(self, pipeline: str, verdict: Verdict) -> None:
        """One more verdict."""
        self._verdicts.labels(pipeline, verdict.name).inc()

    def count_outcome(self, output: str, *, ok: bool) -> None:
        """One more attempt of an output."""
        self._outcomes.labels(output, "true" if ok else "false").inc()

    def count_missed(self, trigger: str, ticks: int) -> None:
        """Ticks that were missed."""
        self._missed.labels(trigger).inc(ticks)

    def count_question(self, pipeline: str, kind: str, seconds: float) -> None:
        """One more question of a neighbour to a model."""
        self._questions.setdefault((pipeline, kind), Histogram()).observe(seconds)

    def running(self, models: Callable[[], Mapping[str, Model]]) -> None:
        """Whom to ask what runs, by pipeline."""
        self._models.running = models

    def render(self) -> bytes:
        """All of it as Prometheus reads it."""
        return generate_latest(self._registry)

    def _make_counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"lineside_{name}", meaning, labels, registry=self._registry)


class _Histograms(Collector):
    """Histograms of one kind, by their labels."""

    def __init__(
        self, name: str, meaning: str, labels: tuple[str, str], cells: Mapping[tuple[str, str], Histogram]
    ) -> None:
        self._about = (f"lineside_{name}_seconds", meaning)
        self._labels = labels
        self._cells = cells

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(*self._about, labels=self._labels)
        for labels, histogram in list(self._cells.items()):
            buckets, sum_s = histogram.told()
            family.add_metric(labels, buckets, sum_s)
        yield family

    def describe(self) -> Iterator[Metric]:
        """Their name, without asking anybody."""
        yield HistogramMetricFamily(*self._about, labels=self._labels)


class _ModelInfo(Collector):
    """Which model each pipeline runs, as labels."""

    running: Callable[[], Mapping[str, Model]] = dict

    def collect(self) -> Iterator[Metric]:
        labels = ("pipeline", "model", "version", "digest", "variant", "provider")
        family = GaugeMetricFamily("lineside_model_info", "The model that judges now", labels=labels)
        for pipeline, model in self.running().items():
            head = model.manifest
            family.add_metric(
                (pipeline, head.name, head.version, model.digest, model.variant, model.engine.provider), 1
            )
        yield family

    def describe(self) -> Iterator[Metric]:
        """Its name, without asking anybody."""
        yield GaugeMetricFamily("lineside_model_info", "")


class _Gauges(Collector):
    """What is measured only when somebody asks."""

    def __init__(self, buffered: Callable[[], Buffered]) -> None:
        self._buffered = buffered

    def collect(self) -> Iterator[Metric]:
        buffered = self._buffered()
        yield GaugeMetricFamily("lineside_buffer_rows", "Records without a receipt", buffered.rows)
        yield GaugeMetricFamily("lineside_buffer_oldest_seconds", "Age of the oldest of them", buffered.oldest_s)
        yield GaugeMetricFamily("lineside_rss_bytes", "Memory of the agent", rss_bytes())
        yield from _machine()

    def describe(self) -> Iterator[Metric]:
        """Their names, without asking anybody."""
        for name in ("buffer_rows", "buffer_oldest_seconds", "rss_bytes"):
            yield GaugeMetricFamily(f"lineside_{name}", "")


def _machine() -> Iterator[Metric]:
    """What this machine can tell; a part that it does not have is left out."""
    if (held := throttled()) is not None:
        yield CounterMetricFamily("lineside_throttled", "Times the quota of processor time was used up", held[0])
        yield CounterMetricFamily("lineside_throttled_seconds", "Time spent held back by it", held[1])
    if (clock_hz := frequency_hz()) is not None:
        yield GaugeMetricFamily("lineside_processor_hertz", "Clock of the first processor", clock_hz)
    if found := temperatures():
        family = GaugeMetricFamily("lineside_temperature_celsius", "Temperature by sensor", labels=("sensor",))
        for sensor, celsius in found.items():
            family.add_metric((sensor,), celsius)
        yield family
