"""Things in a picture and the rules of zones come in; which rule each breaks, and how far, goes out."""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.judgement import Break, Detection
from edge_protocol.bundle import Zone

Polygon = npt.NDArray[np.float32]


def breaks(zones: Sequence[Zone], found: Sequence[Detection], size: tuple[int, int]) -> tuple[Break, ...]:
    """How far each zone's rule is broken by what was found in a picture of `size`, height and width."""
    return tuple(Break(zone.name, _score(zone, [d.score for d in found if is_meant(zone, d, size)])) for zone in zones)


def is_meant(zone: Zone, thing: Detection, size: tuple[int, int]) -> bool:
    """Whether `thing` is of the zone's classes and inside. A point on the edge is inside."""
    if zone.classes and thing.label not in zone.classes:
        return False
    left, top, right, bottom = thing.box
    y = bottom if zone.anchor == "foot" else (top + bottom) / 2
    height, width = size
    return (
        cv2.pointPolygonTest(_polygon(zone.polygon), ((left + right) / 2 / width, y / height), measureDist=False) >= 0
    )


def _score(zone: Zone, scores: list[float]) -> float:
    if zone.rule == "absent":
        return max(scores, default=0.0)
    return 1 - sorted(scores, reverse=True)[zone.count - 1] if len(scores) >= zone.count else 1.0


@lru_cache(maxsize=64)
def _polygon(corners: tuple[tuple[float, float], ...]) -> Polygon:
    return np.array(corners, np.float32)
