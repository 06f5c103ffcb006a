"""Every rule that inputs, outputs and operating points keep: a part of a manifest comes in, what is wrong goes out."""

import math
from collections.abc import Callable, Iterator
from typing import Any

from edge_protocol.contract import (
    TASKS,
    AnomalyOutput,
    Bearing,
    ClassOutput,
    Constant,
    DetectionOutput,
    ImageInput,
    InputContract,
    OperatingPoint,
    OutputContract,
    RegressionOutput,
    SegmentationOutput,
    State,
    TensorInput,
    Vibration,
    WindowAnomalyOutput,
    WindowInput,
    Zone,
)
from edge_protocol.features import FIRST_BIN, feature_names, is_speed_known

_MAX_PIXELS = 8192
_MAX_WINDOW = 2**20
_MAX_VALUES = 2**26
"""Of one tensor: a manifest must not ask a gateway for all of its memory."""

_MAX_BANDS = 256
_MAX_CHANNELS = 64
_WHOLE = {"uint8": (0, 2**8 - 1), "int32": (-(2**31), 2**31 - 1), "int64": (-(2**53), 2**53)}
"""What a constant of each type may be; beyond 2^53 a number in JSON is no longer exact."""

_CORNERS = 3


def task_problems(task: str, contract: InputContract, output: OutputContract) -> Iterator[str]:
    """What is wrong with the kinds of input and output, and with each of them."""
    if TASKS[task] != (type(contract), type(output)):
        yield f"task: {task} does not go with this input or output"
    yield from _PROBLEMS[type(contract)](contract)
    yield from _PROBLEMS[type(output)](output)


def point_problems(point: OperatingPoint) -> Iterator[str]:
    """What is wrong with an operating point."""
    if not point.accept <= point.reject:
        yield "operating_point: accept must not be above reject"
    if not (point.min_area >= 0 and point.hysteresis >= 0):
        yield "operating_point: min_area and hysteresis must not be below zero"
    if not 1 <= point.persistence[0] <= point.persistence[1] <= 1000:
        yield "operating_point: persistence is k of n, 1 ≤ k ≤ n ≤ 1000"
    for zone in point.zones:
        yield from _zone_problems(zone)
    if len({zone.name for zone in point.zones}) != len(point.zones):
        yield "operating_point: each zone needs a name of its own"


def suit_problems(point: OperatingPoint, output: OutputContract) -> Iterator[str]:
    """What an operating point asks of a task that cannot say it: such a rule would never be broken."""
    for zone in point.zones:
        known = output.classes if isinstance(output, DetectionOutput) else ()
        if missing := set(zone.classes) - set(known):
            yield f"operating_point: zone {zone.name!r} asks for {', '.join(sorted(missing))}, which is not detected"
        elif not known:
            yield f"operating_point: zone {zone.name!r} asks for detections, which this task does not make"


def feed_problems(states: tuple[State, ...], constants: tuple[Constant, ...]) -> Iterator[str]:
    """What is wrong with what a graph is fed beside the sample."""
    names = [*(state.input for state in states), *(constant.input for constant in constants)]
    if len(set(names)) != len(names):
        yield "states, constants: each input of the graph may be fed once"
    for state in states:
        if not _is_shape(state.shape):
            yield f"states: {state.input} needs a shape of whole numbers above zero"
    for constant in constants:
        if not _is_shape(constant.shape) or len(constant.values) not in (1, math.prod(constant.shape)):
            yield f"constants: {constant.input} needs one value, or as many as its shape holds"
        low, high = _WHOLE.get(constant.dtype, (-math.inf, math.inf))
        if constant.dtype in _WHOLE and not all(
            low <= each <= high and each == round(each) for each in constant.values
        ):
            yield f"constants: {constant.input} needs whole numbers that {constant.dtype} holds"


def _image_problems(contract: ImageInput) -> Iterator[str]:
    channels = 1 if contract.colour == "gray" else 3
    if not (len(contract.mean) == len(contract.std) == channels) or min(contract.std) <= 0:
        yield f"input: mean and std need {channels} values each, std above zero"
    if not (0 < contract.width <= _MAX_PIXELS and 0 < contract.height <= _MAX_PIXELS):
        yield f"input: width and height must lie between 1 and {_MAX_PIXELS}"
    if not 0 <= contract.pad_value <= 255:
        yield "input: pad_value is a grey level, 0 to 255"
    if contract.roi is not None and (min(contract.roi) < 0 or min(contract.roi[2:]) == 0):
        yield "input: roi is left, top, width and height in pixels, none below zero, width and height above"
    if not contract.mm_per_px >= 0:
        yield "input: mm_per_px must not be below zero; 0 where the scale is not known"


def _window_problems(contract: WindowInput) -> Iterator[str]:
    found = list(_shape_problems(contract)) or list(_vibration_problems(contract, contract.vibration))
    if found:  # else the names of the features might be without end
        yield from found
        return
    size = contract.length if contract.features == "raw" else len(feature_names(contract))
    wanted = (0, size)
    if len(contract.mean) not in wanted or len(contract.std) != len(contract.mean) or min(contract.std, default=1) <= 0:
        yield f"input: mean and std need {size} values each or none, std above zero"
    if contract.shape and (not _is_shape(contract.shape) or math.prod(contract.shape) != size):
        yield f"input: shape must hold {size} values"


def _shape_problems(contract: WindowInput) -> Iterator[str]:
    if not 2 <= contract.length <= _MAX_WINDOW or contract.rate_hz <= 0:
        yield f"input: length must lie between 2 and {_MAX_WINDOW}, rate_hz above zero"
    if contract.features == "log-power-spectrum" and not 0 < contract.bands <= contract.length // 2:
        yield "input: bands must lie between 1 and half of length"
    if (contract.features == "vibration") is not (contract.vibration is not None):
        yield "input: vibration must be there for the vibration features, and only for them"
    elif contract.vibration is not None:
        most = min(_MAX_BANDS, contract.length // 2 - FIRST_BIN)
        if not 1 <= contract.vibration.bands <= most:
            yield f"input: vibration.bands must lie between 1 and {most}"
        if len(contract.vibration.axes) + len(contract.vibration.context) > _MAX_CHANNELS:
            yield f"input: vibration.axes and context are {_MAX_CHANNELS} channels at most"


def _vibration_problems(contract: WindowInput, vibration: Vibration | None) -> Iterator[str]:
    if vibration is None:
        return
    nyquist = contract.rate_hz / 2
    if not 0 <= vibration.shaft_hz < nyquist or vibration.gear_teeth < 0:
        yield "input: vibration.shaft_hz lies between 0 and half of rate_hz, gear_teeth is not below zero"
    if (vibration.bearing or vibration.gear_teeth) and not is_speed_known(vibration):
        yield "input: a bearing or a gear needs vibration.shaft_hz or speed_channel"
    for name, band in (("envelope_hz", vibration.envelope_hz), ("velocity_hz", vibration.velocity_hz)):
        if band is not None and not 0 < band[0] < band[1]:
            yield f"input: vibration.{name} is a band, from above zero to more than that"
    if vibration.envelope_hz is not None and not vibration.envelope_hz[1] <= nyquist:
        yield "input: vibration.envelope_hz must not reach beyond half of rate_hz"
    if vibration.zones is not None and not 0 < vibration.zones[0] < vibration.zones[1] < vibration.zones[2]:
        yield "input: vibration.zones ascend from above zero"
    channels = [
        name for name in (contract.channel, *vibration.axes, vibration.speed_channel, *vibration.context) if name
    ]
    names = feature_names(contract)
    if len(set(channels)) != len(channels) or len(set(names)) != len(names):
        yield "input: vibration's channels must differ from each other and from the names of the features"
    if vibration.bearing is not None:
        yield from _bearing_problems(vibration.bearing)


def _bearing_problems(bearing: Bearing) -> Iterator[str]:
    if not (bearing.balls >= 3 and 0 < bearing.ball_mm < bearing.pitch_mm and 0 <= bearing.contact_deg < 90):
        yield "input: a bearing has three balls or more, smaller than its pitch, and a contact angle below 90 degrees"


def _tensor_problems(contract: TensorInput) -> Iterator[str]:
    if not contract.shape or not _is_shape(contract.shape):
        yield f"input: shape needs whole numbers above zero, at most {_MAX_VALUES} values in all"
    elif (
        len(contract.mean) not in (0, contract.shape[-1])
        or len(contract.std) != len(contract.mean)
        or min(contract.std, default=1) <= 0
    ):
        yield f"input: mean and std need {contract.shape[-1]} values each or none, std above zero"


def _class_problems(output: ClassOutput | SegmentationOutput) -> Iterator[str]:
    if len(set(output.classes)) != len(output.classes) or not set(output.anomalous) <= set(output.classes):
        yield f"output: classes must be there once each, and {', '.join(output.anomalous)} among them"
    if not output.anomalous:
        yield "output: anomalous names at least one class: without it nothing is ever NG"


def _detection_problems(output: DetectionOutput) -> Iterator[str]:
    if not output.classes or len(set(output.classes)) != len(output.classes):
        yield "output: classes must be there, once each, in the order of their numbers"
    if output.form != "packed" and not output.scores:
        yield f"output: {output.form} needs the name of scores"
    if not (0 <= output.min_score <= 1 and 0 < output.iou <= 1 and 1 <= output.max_boxes <= 10_000):
        yield "output: min_score lies between 0 and 1, iou above 0 and up to 1, max_boxes between 1 and 10000"


def _zone_problems(zone: Zone) -> Iterator[str]:
    if not zone.name or len(zone.polygon) < _CORNERS or zone.count < 1:
        yield f"operating_point: zone {zone.name!r} needs a name, {_CORNERS} corners or more and a count above zero"
    if not all(0 <= share <= 1 for corner in zone.polygon for share in corner):
        yield f"operating_point: the corners of zone {zone.name!r} are shares of width and height, 0 to 1"


def _is_shape(shape: tuple[int, ...]) -> bool:
    return all(side > 0 for side in shape) and math.prod(shape) <= _MAX_VALUES


def _none(_part: object) -> Iterator[str]:
    return iter(())


_PROBLEMS: dict[type, Callable[[Any], Iterator[str]]] = {
    ImageInput: _image_problems,
    WindowInput: _window_problems,
    TensorInput: _tensor_problems,
    AnomalyOutput: _none,
    ClassOutput: _class_problems,
    DetectionOutput: _detection_problems,
    SegmentationOutput: _class_problems,
    WindowAnomalyOutput: _none,
    RegressionOutput: _none,
}
