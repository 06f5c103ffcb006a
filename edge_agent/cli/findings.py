"""What a model says of one sample comes in; words for a person, or values for a program, go out."""

from typing import Any

from edge_agent.judgement import Detection, Prediction, Region

SHOWN = 3
"""Things that a line of a table names; the others are counted."""


def values(prediction: Prediction, area_unit: str) -> dict[str, Any]:
    """What the task says beside the score, by name; nothing of what it does not say."""
    said: dict[str, Any] = {"label": prediction.label}
    if prediction.value is not None:
        said |= {"value": prediction.value, "unit": prediction.unit}
    if prediction.regions:
        said["area_unit"] = area_unit
        said["regions"] = [
            {"label": each.label, "area": each.area, "peak": each.peak, "box": _extent(each)}
            for each in prediction.regions
        ]
    if prediction.detections:
        said["detections"] = [
            {"label": each.label, "score": each.score, "box": [round(side, 1) for side in each.box]}
            | ({"zones": list(each.zones)} if each.zones else {})
            for each in prediction.detections
        ]
    if prediction.breaks:
        said["breaks"] = {each.zone: each.score for each in prediction.breaks}
    if prediction.parts is not None:
        said["parts"] = [float(part) for part in prediction.parts]
    return said


def sentence(prediction: Prediction, area_unit: str) -> str:
    """The same in so few words that they fit into a line."""
    if prediction.value is not None:
        return f"{prediction.value:.4g} {prediction.unit}".strip()
    words = [f"{each.zone} {each.score:.2f}" for each in prediction.breaks]
    # What breaks a rule is what somebody looks for; the others are there in any case.
    words += _some([_thing(each) for each in sorted(prediction.detections, key=lambda thing: not thing.zones)])
    words += _some([f"{each.label} {_area(each.area)} {area_unit}".strip() for each in prediction.regions])
    return ", ".join(words) or prediction.label


def _some(words: list[str]) -> list[str]:
    return words[:SHOWN] + ([f"{len(words) - SHOWN} more"] if len(words) > SHOWN else [])


def _thing(thing: Detection) -> str:
    where = f" in {' and '.join(thing.zones)}" if thing.zones else ""
    return f"{thing.label} {thing.score:.2f}{where}"


def _area(area: float) -> str:
    return f"{area:.3g}" if area < 1000 else f"{area:.0f}"


def _extent(region: Region) -> list[int]:
    return [*region.outline.min(axis=0).tolist(), *region.outline.max(axis=0).tolist()]
