"""How an input becomes tensors, how outputs become a prediction, and where a prediction becomes a verdict.

The typed parts of a manifest that say so, one struct for each kind. Pure data: `contract_rules` checks them.
"""

from typing import Literal, TypeAlias

import msgspec

Dtype: TypeAlias = Literal["float32", "float64", "uint8", "int32", "int64"]


class ImageInput(msgspec.Struct, frozen=True, kw_only=True, tag="image", tag_field="kind"):
    """How a picture becomes the tensor: decode → colour → ROI → geometry → (value - mean) / std → layout.

    `mean` and `std` are per channel in the order of `colour`, in grey levels 0…255. `tensor` is the graph's input. A
    `uint8` tensor takes the values as they are. `mm_per_px` is the scale of the source picture; 0 where it is not
    known. `jpeg_reduce` lets the decoder of JPEG give a picture smaller by that factor, with its own filter.
    """

    tensor: str
    width: int
    height: int
    colour: Literal["rgb", "bgr", "gray"] = "rgb"
    roi: tuple[int, int, int, int] | None = None
    geometry: Literal["stretch", "letterbox", "crop"] = "stretch"
    resize: Literal["area-pyramid", "area", "linear", "cubic"] = "area-pyramid"
    pad_value: int = 0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    layout: Literal["nchw", "nhwc"] = "nchw"
    dtype: Dtype = "float32"
    jpeg_reduce: Literal[1, 2, 4, 8] = 1
    mm_per_px: float = 0.0


class Bearing(msgspec.Struct, frozen=True, kw_only=True):
    """A rolling bearing as its catalogue describes it; its fault frequencies are multiples of the shaft's."""

    balls: int
    ball_mm: float
    pitch_mm: float
    contact_deg: float = 0.0


class Vibration(msgspec.Struct, frozen=True, kw_only=True):
    """What the `vibration` features are made of, in the order of `features.feature_names`.

    `shaft_hz` is the nominal speed, 0 where it is not known; `speed_channel` names the channel of a sample that holds
    the measured one in hertz, one value or many over the window, and orders then follow it. `axes` are further
    channels like the window's, each with features of its own, named after it. The means of the `context`
    channels, as load or temperature, are features of their own names. `unit` is that of the window. `envelope_hz` is
    the band around the resonance; without it each window takes the most impulsive of a few bands. `velocity_hz` is
    where the velocity is integrated, and `zones` are its limits A/B, B/C and C/D in mm/s as a standard has them for
    such a machine.
    """

    shaft_hz: float = 0.0
    speed_channel: str = ""
    axes: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    unit: Literal["m/s2", "g", "mm/s"] = "m/s2"
    bearing: Bearing | None = None
    gear_teeth: int = 0
    bands: int = 24
    envelope_hz: tuple[float, float] | None = None
    velocity_hz: tuple[float, float] = (10.0, 1000.0)
    zones: tuple[float, float, float] | None = None


class WindowInput(msgspec.Struct, frozen=True, kw_only=True, tag="window", tag_field="kind"):
    """How a window of a signal becomes the tensor: `length` values → features → (value - mean) / std.

    `log-power-spectrum`: remove the mean, scale to unit deviation, Hann window, |rfft|², sum in `bands` equal bands,
    natural logarithm of (1e-9 + power). `raw` passes the window. `vibration`: the features that `vibration` describes.
    `mean` and `std` have one value per feature. `shape` is the tensor's where it is not [1, features].
    """

    tensor: str
    length: int
    rate_hz: float
    channel: str = "signal"
    features: Literal["log-power-spectrum", "raw", "vibration"] = "log-power-spectrum"
    bands: int = 64
    vibration: Vibration | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    dtype: Dtype = "float32"
    shape: tuple[int, ...] = ()


class TensorInput(msgspec.Struct, frozen=True, kw_only=True, tag="tensor", tag_field="kind"):
    """How an array becomes the tensor: as it is, or (value - mean) / std along the last axis, in `dtype`."""

    tensor: str
    shape: tuple[int, ...]
    channel: str = "tensor"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    dtype: Dtype = "float32"


class State(msgspec.Struct, frozen=True, kw_only=True):
    """An output that is the input of the next sample: zeros before the first and after a gap."""

    input: str
    output: str
    shape: tuple[int, ...]
    dtype: Dtype = "float32"


class Constant(msgspec.Struct, frozen=True, kw_only=True):
    """An input of the graph that is the same for every sample. An empty shape is a scalar."""

    input: str
    values: tuple[float, ...]
    shape: tuple[int, ...] = ()
    dtype: Dtype = "float32"


class AnomalyOutput(msgspec.Struct, frozen=True, kw_only=True, tag="image-anomaly", tag_field="kind"):
    """Names of the graph's outputs: `map` [1,h,w] float32 distances, `score` [1] float32, higher is more anomalous."""

    map: str = "map"
    score: str = "score"


class ClassOutput(msgspec.Struct, frozen=True, kw_only=True, tag="classification", tag_field="kind"):
    """`probabilities` [1,k] over `classes`; the score is the probability that it is one of `anomalous`.

    `activation` is what the graph leaves to be done to the values.
    """

    classes: tuple[str, ...]
    anomalous: tuple[str, ...]
    probabilities: str = "probabilities"
    activation: Literal["none", "softmax", "sigmoid"] = "none"


class DetectionOutput(msgspec.Struct, frozen=True, kw_only=True, tag="detection", tag_field="kind"):
    """Boxes of `classes`; the score is that of the worst break of a rule, see `Zone`.

    `packed`: `boxes` [1,n,6], each x1 y1 x2 y2 score class. `split`: `boxes` [1,n,4] in `corners`, and `scores`
    [1,n,k] or [1,n] with `labels` [1,n]. `centernet`: `scores` [1,h,w,k] heat of centres, `boxes` [1,h,w,4] distances
    to left, top, right and bottom. Boxes are in pixels of the tensor, or in shares of it when `units` says so. Below
    `min_score` none is looked at; of two of one class that overlap by more than `iou` the weaker goes.
    """

    classes: tuple[str, ...]
    boxes: str
    scores: str = ""
    labels: str = ""
    form: Literal["packed", "split", "centernet"] = "packed"
    corners: Literal["xyxy", "cxcywh"] = "xyxy"
    units: Literal["pixels", "shares"] = "pixels"
    activation: Literal["none", "sigmoid"] = "none"
    min_score: float = 0.25
    iou: float = 0.5
    max_boxes: int = 100


class SegmentationOutput(msgspec.Struct, frozen=True, kw_only=True, tag="segmentation", tag_field="kind"):
    """`masks` [1,k,h,w] over `classes`; the score is the largest region of an `anomalous` class.

    A pixel belongs to its most likely class, or with `sigmoid` to each anomalous class that is at 0.5 or more, as to a
    class that stands alone. The score is an area: mm² where the input knows its scale, else pixels of the source.
    """

    classes: tuple[str, ...]
    anomalous: tuple[str, ...]
    masks: str = "masks"
    activation: Literal["none", "softmax", "sigmoid"] = "none"


class WindowAnomalyOutput(msgspec.Struct, frozen=True, kw_only=True, tag="window-anomaly", tag_field="kind"):
    """`score` [1], higher is more anomalous; `parts` [1,features], if any, is what each feature adds to it."""

    score: str = "score"
    parts: str = ""


class RegressionOutput(msgspec.Struct, frozen=True, kw_only=True, tag="regression", tag_field="kind"):
    """`value` [1] in `unit`, as remaining life in hours; the score is the value if `worse` is high, else minus it."""

    value: str = "value"
    unit: str = ""
    worse: Literal["high", "low"] = "low"


class Zone(msgspec.Struct, frozen=True, kw_only=True):
    """A rule about what is detected within a polygon, in shares of the source's width and height.

    `absent`: nothing of `classes` (empty: of any) may be inside; the break scores as its strongest detection.
    `present`: at least `count` must be inside; the break scores one minus the score of the count-th strongest.
    `anchor` is the point of a box that lies inside or not: `foot` the middle of its lower edge, `centre` its centre.
    """

    name: str
    polygon: tuple[tuple[float, float], ...]
    classes: tuple[str, ...] = ()
    rule: Literal["absent", "present"] = "absent"
    count: int = 1
    anchor: Literal["foot", "centre"] = "foot"


class OperatingPoint(msgspec.Struct, frozen=True, kw_only=True):
    """score < accept → OK; score ≥ reject → NG; between → REVIEW. Equal thresholds leave no REVIEW.

    `min_area` of a region that counts, in mm² where the scale is known, else pixels of the source. `persistence` k of
    n: NG only when k of the latest n scores reach `reject`; until then REVIEW. `hysteresis`: after an NG the score must
    fall that far below a threshold to be better again. `zones` are the rules of a detection; without any, every
    detection of any class is a break.
    """

    accept: float
    reject: float
    min_area: float = 0.0
    persistence: tuple[int, int] = (1, 1)
    hysteresis: float = 0.0
    zones: tuple[Zone, ...] = ()


InputContract: TypeAlias = ImageInput | WindowInput | TensorInput
OutputContract: TypeAlias = (
    AnomalyOutput | ClassOutput | DetectionOutput | SegmentationOutput | WindowAnomalyOutput | RegressionOutput
)

TASKS: dict[str, tuple[type, type]] = {
    "image-anomaly": (ImageInput, AnomalyOutput),
    "image-classification": (ImageInput, ClassOutput),
    "detection": (ImageInput, DetectionOutput),
    "segmentation": (ImageInput, SegmentationOutput),
    "window-classification": (WindowInput, ClassOutput),
    "window-anomaly": (WindowInput, WindowAnomalyOutput),
    "window-regression": (WindowInput, RegressionOutput),
    "tensor-classification": (TensorInput, ClassOutput),
    "tensor-anomaly": (TensorInput, WindowAnomalyOutput),
    "tensor-regression": (TensorInput, RegressionOutput),
}
"""Task → the input and the output that go with it."""
