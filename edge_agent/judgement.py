"""What goes out to the line and into the record: a model's prediction, and the verdict made of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edge_agent.sample import Trigger
from edge_protocol.batch import Context
from edge_protocol.codes import Reason, Verdict


@dataclass(frozen=True, slots=True)
class Region:
    """A place in the source picture: its outline [n, 2] as x and y in pixels, its area, and the highest value in it.

    `area` is in mm² where the contract knows the scale, else in pixels.
    """

    outline: npt.NDArray[np.int32]
    area: float
    peak: float
    label: str = ""


@dataclass(frozen=True, slots=True)
class Detection:
    """A thing in the source picture: left, top, right and bottom in pixels, and the zones whose rule it breaks."""

    label: str
    score: float
    box: tuple[float, float, float, float]
    zones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Break:
    """How far the rule of a zone is broken: 0 not at all, 1 for certain."""

    zone: str
    score: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of one sample, before any threshold. `score`: higher is worse. The rest is there by task.

    `heatmap` [h, w] of an anomaly, over the tensor. `regions` in the source picture, largest first: of an anomaly only
    where the score reaches `accept`, for they cost time. `detections` strongest first, `breaks` one for each zone.
    `label` the most likely class, `value` with `unit` of a regression, `parts` what each feature adds to the score,
    `features` what a window became before the model, standardised, in the order of `feature_names`.
    """

    score: float
    heatmap: npt.NDArray[np.float32] | None = None
    label: str = ""
    regions: tuple[Region, ...] = ()
    detections: tuple[Detection, ...] = ()
    breaks: tuple[Break, ...] = ()
    value: float | None = None
    unit: str = ""
    parts: npt.NDArray[np.float32] | None = None
    features: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """One pipeline's answer to one trigger. `score` is None where nothing was judged.

    `signals` are the monitored quantities of this sample, by the names of the bundle's reference. `detail` says in
    words why nothing was judged, where a word was said; it is for the event, not for the record.
    """

    trigger: Trigger
    pipeline: str
    context: Context
    verdict: Verdict
    reason: Reason
    score: float | None
    latency_us: int
    signals: Mapping[str, float] = field(default_factory=dict)
    prediction: Prediction | None = None
    detail: str = ""
