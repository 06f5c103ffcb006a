"""What two variants of a detector say of the same pictures comes in, how far they agree goes out. No labels are needed.

Agreement is no accuracy: both may be wrong alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloud_hub.factory.evaluate import Figure, share
from edge_agent.inference.model import Model
from edge_agent.judgement import Detection
from edge_agent.sample import Channel, Sample

OVERLAP = 0.5
"""From this intersection over union on, two boxes are one thing."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a variant says of a picture."""

    verdict: str
    detections: tuple[Detection, ...]


def look(model: Model, picture: npt.NDArray[np.uint8]) -> Seen:
    """What the production path says of a picture."""
    prediction, _ = model.judge(Sample({model.preprocessor.channel: Channel(picture, 0)}))
    return Seen(model.verdict(prediction)[0].name, prediction.detections)


def compare(
    reference: Sequence[Seen], other: Sequence[Seen], label: str, min_score: float
) -> dict[str, Figure | float]:
    """How `other` agrees with `reference`, picture by picture, about things of one label.

    `per frame`: those of `other` at `min_score` or more. `NG`: its share of pictures. `same verdict`: the share of
    pictures. `found again`: of what the reference sees at `min_score` or more, the share that the other sees at all,
    with boxes that overlap by half.
    """
    pairs = list(zip(reference, other, strict=True))
    strong = [_of(seen, label, min_score) for seen in reference]
    weak = [_of(seen, label, 0.0) for seen in other]
    again = sum(any(overlap(a.box, b.box) >= OVERLAP for b in found) for known, found in zip(strong, weak, strict=True)
                for a in known)  # fmt: skip
    figures: dict[str, Figure | float] = {
        f"{label}s per frame": sum(len(_of(seen, label, min_score)) for seen in other) / max(len(other), 1),
        "NG": share(sum(seen.verdict == "NG" for seen in other), len(other)),
        "same verdict as fp32": share(sum(a.verdict == b.verdict for a, b in pairs), len(pairs)),
    }
    total = sum(map(len, strong))
    return figures | ({f"{label}s of fp32 found again": share(again, total)} if total else {})


def tell(figures: Mapping[str, Figure | float]) -> list[str]:
    """The figures in words."""
    return [
        f"{name} {figure.value:.3f} of {figure.n}" if isinstance(figure, Figure) else f"{name} {figure:.2f}"
        for name, figure in figures.items()
    ]


def overlap(one: tuple[float, float, float, float], two: tuple[float, float, float, float]) -> float:
    """Intersection over union of two boxes, each left, top, right and bottom."""
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (_area(one) + _area(two) - width * height)


def _of(seen: Seen, label: str, min_score: float) -> list[Detection]:
    return [each for each in seen.detections if each.label == label and each.score >= min_score]


def _area(box: tuple[float, float, float, float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
