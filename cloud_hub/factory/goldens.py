"""Candidate inputs come in; those that every variant judges alike and with a wide margin become golden samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cloud_hub.errors import FactoryError
from edge_agent.inference.model import Model
from edge_agent.inference.selftest import Trace, trace
from edge_protocol.bundle import Expectation, Golden, OperatingPoint


@dataclass(frozen=True, slots=True)
class Candidate:
    """An input as a source would deliver it. Each `group` yields a golden that all variants judge as `verdict`."""

    group: str
    verdict: str
    file: str
    data: bytes


def choose_goldens(
    models: Mapping[str, Model], candidates: Sequence[Candidate]
) -> tuple[list[Golden], dict[str, bytes]]:
    """The best candidate of each group as a golden with an expectation of each variant, and their files.

    Raises:
        FactoryError: no candidate of a group is judged alike by all variants.
    """
    best: dict[str, tuple[float, Candidate, dict[str, Trace]]] = {}
    for candidate in candidates:
        traces = {name: trace(model, candidate.data) for name, model in models.items()}
        point = next(iter(models.values())).operating_point
        margin = min(_margin(found.score, point) for found in traces.values())
        is_agreed = all(found.verdict == candidate.verdict for found in traces.values())
        if is_agreed and margin > best.get(candidate.group, (0.0,))[0]:
            best[candidate.group] = (margin, candidate, traces)
    if missing := {candidate.group for candidate in candidates} - set(best):
        message = f"no golden for {', '.join(sorted(missing))}: no candidate is judged as it should be by all variants"
        raise FactoryError(message, "look at the variants' figures, or give more candidates")
    goldens = [_golden(candidate, traces, point) for _, candidate, traces in best.values()]
    return goldens, {candidate.file: candidate.data for _, candidate, _ in best.values()}


def _golden(candidate: Candidate, traces: Mapping[str, Trace], point: OperatingPoint) -> Golden:
    expect = {
        name: Expectation(
            verdict=found.verdict,  # type: ignore[arg-type]  # what was judged is never UNINSPECTED
            score=found.score,
            margin=_margin(found.score, point),
            stages=found.stages,
        )
        for name, found in traces.items()
    }
    return Golden(file=candidate.file, expect=expect)


def _margin(score: float, point: OperatingPoint) -> float:
    return min(abs(score - point.accept), abs(score - point.reject))
