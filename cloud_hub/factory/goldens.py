"""Candidate inputs come in; those that every variant judges alike and with a wide margin become golden samples.

Beside what the production path makes of them stands a second opinion: the trainer's own framework, by another path.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cloud_hub.errors import FactoryError
from edge_agent.inference.model import Model
from edge_agent.inference.selftest import Trace, trace
from edge_protocol.bundle import Expectation, Golden, OperatingPoint, Trained

_SHARE_OF_MARGIN = 0.25


@dataclass(frozen=True, slots=True)
class Candidate:
    """An input as a source would deliver it. Each `group` yields a golden that all variants judge as `verdict`."""

    group: str
    verdict: str
    file: str
    data: bytes


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """What computes the score of an input with none of the production path's code, and what that is called."""

    framework: str
    score: Callable[[bytes], float]


def choose_goldens(
    models: Mapping[str, Model], candidates: Sequence[Candidate], opinion: SecondOpinion | None = None
) -> tuple[list[Golden], dict[str, bytes]]:
    """The best candidate of each group as a golden with an expectation of each variant, and their files.

    Raises:
        FactoryError: no candidate of a group is judged alike by all variants, or none as by the second opinion.
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
    goldens = [_golden(candidate, traces, point, opinion) for _, candidate, traces in best.values()]
    if opinion is not None and not any(golden.trained for golden in goldens):
        message = f"no golden comes out in all variants as by {opinion.framework}"
        raise FactoryError(message, "the production path is not what was trained: find the first stage that differs")
    return goldens, {candidate.file: candidate.data for _, candidate, _ in best.values()}


def _golden(
    candidate: Candidate, traces: Mapping[str, Trace], point: OperatingPoint, opinion: SecondOpinion | None
) -> Golden:
    expect = {name: expectation(found, point) for name, found in traces.items()}
    trained = _ask(opinion, candidate, traces, point) if opinion is not None else None
    return Golden(file=candidate.file, expect=expect, trained=trained)


def expectation(found: Trace, point: OperatingPoint) -> Expectation:
    """What a gateway is to find again of what was found here."""
    return Expectation(
        verdict=found.verdict,  # type: ignore[arg-type]  # what was judged is never UNINSPECTED
        score=found.score,
        margin=_margin(found.score, point),
        stages=found.stages,
    )


def _ask(
    opinion: SecondOpinion, candidate: Candidate, traces: Mapping[str, Trace], point: OperatingPoint
) -> Trained | None:
    """The second opinion of a candidate, where each variant is as near to it as a gateway has to be.

    An integer variant may be further from it than that on one part and right all the same: then that part says nothing.
    """
    score = opinion.score(candidate.data)
    tolerance = _SHARE_OF_MARGIN * _margin(score, point)
    if any(abs(found.score - score) > tolerance for found in traces.values()):
        return None
    return Trained(score=score, tolerance=tolerance, framework=opinion.framework)


def _margin(score: float, point: OperatingPoint) -> float:
    return min(abs(score - point.accept), abs(score - point.reject))
