"""The agent's parts come in, what its neighbours may ask goes out: wired here so that no room knows another."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent.clock import Clock
from edge_agent.inference.lane import Guard
from edge_agent.inference.model import Model
from edge_agent.inference.pipeline import Pipeline
from edge_agent.judgement import Judgement
from edge_agent.serving.metrics import Metrics
from edge_agent.serving.models import Models
from edge_agent.serving.site import Answers, Site


@dataclass(frozen=True, slots=True)
class Parts:
    """What neighbours are told of the running agent. `dead` and `faults` give reasons, empty: all is well.

    `unready` gives the reason by pipeline: an engine that is not yet, or no longer, what the trainer made. `guard`
    makes one for the questions to a pipeline's model.
    """

    pipelines: Mapping[str, Pipeline]
    metrics: Metrics
    clock: Clock
    dead: Callable[[], Sequence[str]]
    unready: Callable[[], Mapping[str, str]]
    faults: Callable[[], Sequence[str]]
    status: Callable[[], Any]
    guard: Callable[[str, Model], Guard]


class Neighbours:
    """What they may ask, and what is noted for them meanwhile."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._recorded = {name: parts.metrics.observer(name) for name in parts.pipelines}

    def site(self) -> Site:
        """All that may be asked."""
        parts = self._parts
        parts.metrics.running(self._running)

        def trusted() -> list[str]:
            return [*parts.dead(), *(f"{name}: {why}" for name, why in self._unready().items())]

        models = Models(
            self._running, self._doubts, parts.metrics.count_question, guard=parts.guard, unready=self._unready
        )
        answers = Answers(
            metrics=parts.metrics.render,
            live=parts.dead,
            ready=lambda: [*trusted(), *parts.faults()],
            trusted=trusted,
            status=parts.status,
            models=models,
        )
        return Site(answers)

    def committed(self, judgements: Sequence[Judgement]) -> None:
        """These are on disk now: how long each took from its verdict to there."""
        now_us = self._parts.clock.mono_us()
        for judgement in judgements:
            waited_us = now_us - judgement.trigger.mono_us - judgement.latency_us
            if judgement.pipeline in self._recorded:
                self._recorded[judgement.pipeline]("record", max(0, waited_us) / 1e6)

    def _running(self) -> Mapping[str, Model]:
        return {name: pipeline.model for name, pipeline in self._parts.pipelines.items()}

    def _unready(self) -> dict[str, str]:
        """Why a model is not ready, by pipeline: the one answer of the gateway's health, the model's and the index."""
        return {name: why for name in self._parts.pipelines for why in self._doubts(name)} | dict(self._parts.unready())

    def _doubts(self, pipeline: str) -> Sequence[str]:
        """Why a model answers nothing. One whose goldens are awaited does: it passed them before, and the line runs."""
        is_doubted = self._parts.pipelines[pipeline].quarantined
        return ("its engine does not answer its goldens as it should",) if is_doubted else ()
