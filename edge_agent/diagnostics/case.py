"""What is needed of a bundle to explain its verdicts: a judgement and its sample come in, an exhibit goes out.

Keeps no engine: the model that judged may be gone by then.
"""

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.diagnostics.exhibit import Exhibit
from edge_agent.diagnostics.reasons import Teller
from edge_agent.errors import InferenceError
from edge_agent.inference import overlay
from edge_agent.inference.picture import check_picture, read_picture
from edge_agent.inference.vibration.severity import zone
from edge_agent.judgement import Detection, Judgement, Prediction, Region
from edge_agent.sample import Sample
from edge_protocol.bundle import ImageInput, InputContract, Manifest, OperatingPoint, WindowInput
from edge_protocol.counters import Reference
from edge_protocol.features import VELOCITY, feature_names
from edge_protocol.messages import (
    MAX_EXPLAINED,
    ExplainedDetection,
    ExplainedFeature,
    ExplainedRegion,
    Explanation,
)

DAY_US = 86_400_000_000
MAX_SIDE_PX = 1280


class Case:
    """One bundle at one operating point. `explain` belongs to any thread, `draw` to one."""

    def __init__(self, manifest: Manifest, point: OperatingPoint, reference: Reference | None) -> None:
        self.is_window = isinstance(manifest.input, WindowInput)
        self._contract: InputContract = manifest.input
        self._manifest = manifest
        self._point = point
        self._teller: Teller | None = None
        if isinstance(manifest.input, WindowInput):
            window = manifest.input
            self._teller = Teller(reference, feature_names(window), window.mean, window.std)

    def explain(self, judgement: Judgement) -> Exhibit:
        """The verdict in numbers."""
        context, keep_us = judgement.context, self._manifest.retention_days * DAY_US
        prediction = judgement.prediction or Prediction(math.nan)
        return Exhibit(
            at_us=judgement.trigger.at_us,
            verdict=judgement.verdict.name,
            reason=judgement.reason.name,
            bundle=context.bundle,
            version=context.version,
            digest=context.digest.hex(),
            variant=context.variant,
            operating_point=context.operating_point.hex(),
            accept=self._point.accept,
            reject=self._point.reject,
            part=judgement.trigger.part,
            value=prediction.value,
            unit=prediction.unit,
            area_unit="mm²" if isinstance(self._contract, ImageInput) and self._contract.mm_per_px else "px",
            severity=self._severity(prediction),
            until_us=judgement.trigger.at_us + keep_us if keep_us else 0,
            explanation=self._explanation(judgement, prediction),
        )

    def draw(self, judgement: Judgement, sample: Sample | None) -> tuple[bytes, str]:
        """The picture with what was found in it, as PNG; or why there is none."""
        prediction = judgement.prediction
        if self._manifest.capture == "none":
            return b"", "the bundle keeps no pictures (capture = none), as where people are in view"
        if not isinstance(self._contract, ImageInput) or prediction is None:
            return b"", "there is nothing to draw"
        if sample is None:
            return b"", "too many at once: the gateway had no time to draw it"
        try:
            picture = _picture(sample)
        except InferenceError as error:
            return b"", str(error)
        return _png(overlay.draw(picture, prediction, self._contract, self._point)), ""

    def _severity(self, prediction: Prediction) -> str:
        """The zone of vibration severity, where the contract has limits."""
        window = self._manifest.input
        if not isinstance(window, WindowInput) or window.vibration is None or window.vibration.zones is None:
            return ""
        names = [name for name in feature_names(window) if name.endswith(VELOCITY)]
        found = [self._teller.value(name, prediction.features) for name in names] if self._teller is not None else []
        velocities = [each for each in found if each is not None]
        return zone(max(velocities), window.vibration.zones) if velocities else ""

    def _explanation(self, judgement: Judgement, prediction: Prediction) -> Explanation:
        reasons: tuple[ExplainedFeature, ...] = ()
        if self._teller is not None:
            reasons = self._teller.tell(judgement.signals, prediction.features, prediction.parts)
        return Explanation(
            epoch=judgement.trigger.epoch,
            trigger=judgement.trigger.n,
            pipeline=judgement.pipeline,
            label=prediction.label,
            score=judgement.score,
            zones=tuple(each.zone for each in prediction.breaks if each.score >= self._point.accept)[:MAX_EXPLAINED],
            detections=_detections(prediction.detections),
            regions=_regions(prediction.regions),
            reasons=reasons,
        )


def _detections(found: tuple[Detection, ...]) -> tuple[ExplainedDetection, ...]:
    """Those that break a rule first, then the strongest."""
    worst = sorted(found, key=lambda each: (bool(each.zones), each.score), reverse=True)[:MAX_EXPLAINED]
    return tuple(
        ExplainedDetection(
            label=each.label,
            score=round(float(each.score), 4),
            box=_box(each.box),
            zones=each.zones[:MAX_EXPLAINED],
        )
        for each in worst
    )


def _regions(found: tuple[Region, ...]) -> tuple[ExplainedRegion, ...]:
    largest = sorted(found, key=lambda each: each.area, reverse=True)[:MAX_EXPLAINED]
    return tuple(
        ExplainedRegion(
            area=round(float(each.area), 3), peak=float(each.peak), box=_box(_bounds(each.outline)), label=each.label
        )
        for each in largest
    )


def _bounds(outline: npt.NDArray[np.int32]) -> tuple[float, ...]:
    points = outline.reshape(-1, 2)
    return (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())


def _box(corners: tuple[float, ...]) -> tuple[float, float, float, float]:
    left, top, right, bottom = (round(float(corner), 1) for corner in corners)
    return left, top, right, bottom


def _png(canvas: npt.NDArray[np.uint8]) -> bytes:
    """The picture as PNG, no larger than a person can look at: so that more fit into the budget."""
    scale = MAX_SIDE_PX / max(canvas.shape[:2])
    if scale < 1:
        size = (max(round(canvas.shape[1] * scale), 1), max(round(canvas.shape[0] * scale), 1))
        canvas = np.asarray(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA), np.uint8)
    _ok, encoded = cv2.imencode(".png", canvas)
    return encoded.tobytes()


def _picture(sample: Sample) -> npt.NDArray[np.uint8]:
    """The picture at its full size, as people know it."""
    channel = sample.channels.get("image") or next(iter(sample.channels.values()))
    data: Any = channel.data
    return check_picture(data) if isinstance(data, np.ndarray) else read_picture(data)
