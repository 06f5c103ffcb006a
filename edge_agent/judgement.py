"""What goes out to the line and into the record: a model's prediction, and the verdict made of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edge_agent.sample import Trigger
from edge_protocol.batch import Context
from edge_protocol.codes import Reason, Verdict


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of one tensor, before any threshold: a score, higher is worse, and a heatmap [h, w] if any."""

    score: float
    heatmap: npt.NDArray[np.float32] | None = None
    label: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One pipeline's answer to one trigger. `score` is None where nothing was judged.

    `signals` are the monitored quantities of this sample, by the names of the bundle's reference.
    """

    trigger: Trigger
    pipeline: str
    context: Context
    verdict: Verdict
    reason: Reason
    score: float | None
    latency_us: int
    signals: Mapping[str, float] = field(default_factory=dict)
    heatmap: npt.NDArray[np.float32] | None = None
