"""A detector's outputs come in; things in the source picture, and the score of the worst broken rule, go out."""

from edge_agent.inference.postprocess.candidates import Outputs, candidates
from edge_agent.inference.postprocess.suppression import suppress
from edge_agent.inference.postprocess.view import View
from edge_agent.inference.postprocess.zones import breaks, is_meant
from edge_agent.judgement import Detection, Prediction
from edge_protocol.bundle import DetectionOutput


def predict_detection(contract: DetectionOutput, outputs: Outputs, view: View) -> Prediction:
    """Boxes in pixels of the source, strongest first. Without zones every one of them is a break.

    A box that lies outside of the picture, as in the border of a letterbox, is nothing that was seen.
    """
    found = candidates(contract, outputs, view)
    kept = found.take(suppress(found, contract.iou, contract.max_boxes))
    boxes = view.placement.to_source(kept.boxes.reshape(-1, 2, 2)).reshape(-1, 4)
    things = [
        Detection(contract.classes[label], score, (left, top, right, bottom))
        for label, score, (left, top, right, bottom) in zip(
            kept.labels.tolist(), kept.scores.tolist(), boxes.tolist(), strict=True
        )
        if left < right and top < bottom
    ]
    size, zones = view.placement.size, view.point.zones
    broken = breaks(zones, things, size)
    forbidden = [zone for zone in zones if zone.rule == "absent"]
    return Prediction(
        score=max((b.score for b in broken), default=0.0) if zones else max((t.score for t in things), default=0.0),
        label=things[0].label if things else "",
        detections=tuple(
            Detection(t.label, t.score, t.box, tuple(z.name for z in forbidden if is_meant(z, t, size))) for t in things
        ),
        breaks=broken,
    )
