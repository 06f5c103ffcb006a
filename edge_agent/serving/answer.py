"""A prediction comes in, what JSON is made of goes out: score, label, regions, detections; never a heatmap."""

from typing import Any

from edge_agent.judgement import Prediction

MAX_OUTLINE = 64
"""Points of an outline that are told; a longer one is thinned evenly."""


def told(prediction: Prediction) -> dict[str, Any]:
    """The prediction for a neighbour."""
    found: dict[str, Any] = {"score": float(prediction.score)}
    if prediction.label:
        found["label"] = prediction.label
    if prediction.value is not None:
        found |= {"value": float(prediction.value), "unit": prediction.unit}
    if prediction.regions:
        found["regions"] = [
            {
                "outline": each.outline[:: 1 + len(each.outline) // MAX_OUTLINE].tolist(),
                "area": float(each.area),
                "peak": float(each.peak),
                "label": each.label,
            }
            for each in prediction.regions
        ]
    if prediction.detections:
        found["detections"] = [
            {"label": d.label, "score": float(d.score), "box": [float(n) for n in d.box], "zones": list(d.zones)}
            for d in prediction.detections
        ]
    return found
