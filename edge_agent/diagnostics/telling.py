"""A verdict's row and its exhibit come in, sentences for a person go out, the last one about the picture."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edge_agent.diagnostics.exhibit import Exhibit
from edge_agent.settings.pipelines import LIMITS
from edge_protocol.codes import Reason, Verdict
from edge_protocol.messages import ExplainedDetection, ExplainedFeature, ExplainedRegion

_LOOK = "edge-agent status says why, edge-agent infer says it of a file"
_WORDS = {
    Reason.NONE: "nothing reaches a threshold",
    Reason.SCORE_REJECT: "its score reaches the threshold of NG",
    Reason.SCORE_REVIEW: "its score lies between the thresholds: a person decides",
    Reason.UNREADABLE: f"its input cannot be read: {_LOOK}",
    Reason.WRONG_SHAPE: f"its input is of another kind than the bundle takes: {_LOOK}",
    Reason.NOT_FINITE: f"its input holds values that are no numbers: {_LOOK}",
    Reason.TIME_WENT_BACK: "its input is older than the one before: look at the clock of the source",
    Reason.ENGINE_FAULT: "its model failed: edge-agent status says how, edge-agent doctor whether it is sound",
    Reason.SOURCE_FAULT: "its source had nothing for it: edge-agent status says what is wrong",
    Reason.OVERLOAD: "parts came faster than they were taken",
    Reason.LATE: "it was not judged within [[pipelines]] deadline_ms",
    Reason.INTERRUPTED: "the agent was stopped before it was judged",
    Reason.SKIPPED: "it was passed over, as [[pipelines]] policy says",
    Reason.QUARANTINED: "its engine did not know its goldens: edge-agent status says what differed",
}

_UNEXPLAINED = {
    Verdict.UNINSPECTED.name: "nothing was judged",
    Verdict.OK.name: "of OK only the latest windows are explained",
}
_GONE = "later ones took its place ([store] exhibits_mb), or the disk was nearly full"


def sentences(row: Mapping[str, Any], exhibit: Exhibit | None, picture: Path | None) -> list[str]:
    """What is known of one verdict, a line each."""
    verdict = f"{row['epoch']}-{row['trigger']} {row['pipeline']}: {row['verdict']}"
    part = f" of part {row['part']}" if row["part"] else ""
    lines = [
        f"{verdict}{part} at {row['at']}, {_why(row)}",
        f"  judged by {row['bundle']} {row['version']} ({row['variant'] or 'no variant'}, {row['digest'][:12]})",
    ]
    if exhibit is not None:
        lines += [f"  {line}" for line in _details(exhibit)]
    return [*lines, f"  {_about_picture(row, exhibit, picture)}"]


def _why(row: Mapping[str, Any]) -> str:
    known = Reason[row["reason"]] if row["reason"] in Reason.__members__ else None
    if known in LIMITS:
        keys = " or ".join(LIMITS[known])
        return f"its input is not trusted: {known.name.replace('_', ' ').lower()}, by [pipelines.guard] {keys}"
    return _WORDS.get(known, f"reason {row['reason']}") if known is not None else f"reason {row['reason']}"


def _details(exhibit: Exhibit) -> Iterator[str]:
    found = exhibit.explanation
    if found.score is not None:
        yield f"score {found.score:.4g}: OK below {exhibit.accept:.4g}, NG from {exhibit.reject:.4g}"
    if exhibit.operating_point:
        yield f"thresholds are those of the operating point {exhibit.operating_point[:12]}, not the bundle's own"
    if found.label:
        yield f"most likely {found.label}"
    if found.zones:
        yield f"breaks the rule of {', '.join(found.zones)}"
    if exhibit.value is not None:
        yield f"value {exhibit.value:.4g} {exhibit.unit}".rstrip()
    if exhibit.severity:
        yield f"zone {exhibit.severity} of vibration severity"
    yield from map(_detection, found.detections)
    yield from (_region(region, exhibit.area_unit) for region in found.regions)
    yield from map(_feature, found.reasons)


def _detection(seen: ExplainedDetection) -> str:
    left, top, right, bottom = seen.box
    broken = f", breaks the rule of {', '.join(seen.zones)}" if seen.zones else ""
    return f"saw {seen.label} ({seen.score:.2f}) at {left:.0f}, {top:.0f} … {right:.0f}, {bottom:.0f}{broken}"


def _region(seen: ExplainedRegion, unit: str) -> str:
    left, top, right, bottom = seen.box
    label = f"{seen.label} of " if seen.label else "a place of "
    where = f"at {left:.0f}, {top:.0f} … {right:.0f}, {bottom:.0f}"
    return f"found {label}{seen.area:.4g} {unit} with a peak of {seen.peak:.4g} {where}"


def _feature(feature: ExplainedFeature) -> str:
    added = f", adds {feature.part:.3g} to the score" if feature.part is not None else ""
    return f"{feature.name} is {feature.value:.4g}{_standing(feature.percentile)}{added}"


def _standing(percentile: float | None) -> str:
    if percentile is None:
        return ""
    if percentile > 50:
        return f", above {percentile:.4g} % of the good ones"
    if percentile < 50:
        return f", below {100 - percentile:.4g} % of the good ones"
    return ", as the good ones"


def _about_picture(row: Mapping[str, Any], exhibit: Exhibit | None, picture: Path | None) -> str:
    if picture is not None:
        return f"picture: {picture}"
    if exhibit is None:
        return f"no picture and no reasons: {_UNEXPLAINED.get(row['verdict'], _GONE)}"
    if exhibit.picture:
        return "no picture: it was removed meanwhile"
    return f"no picture: {exhibit.no_picture or 'of a window --out draws its reasons'}"
