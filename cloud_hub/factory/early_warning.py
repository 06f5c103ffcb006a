"""A recorded temperature and the failures that people found in it come in, how early and how often we warn goes out.

The data is NAB's `machine_temperature_system_failure` where it lies beside the checkout. Settings are those of the
first run: windows of an hour, a week's memory, NG from three deviations in two of three windows; only the warm-up was
made two days for learning and scoring alike, where it had been two numbers. No label is used but to count.
"""

import csv
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cloud_hub.errors import FactoryError
from cloud_hub.factory import trend
from cloud_hub.factory.bundle_writer import write_bundle
from edge_agent.inference.decision import Decider
from edge_agent.inference.model import Model
from edge_agent.sample import Channel, Sample
from edge_protocol.bundle import Manifest, OperatingPoint, Variant, WindowAnomalyOutput, WindowInput
from edge_protocol.codes import Verdict

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "nab"
DATA, WINDOWS = "machine_temperature_system_failure.csv", "failure_windows.json"

STEP_S = 300.0
HOUR = 12
"""Values in a window."""

TREND = trend.Trend(length=HOUR, memory=7 * 24, warm_up=2 * 24, smallest=1.0)
POINT = OperatingPoint(accept=2.5, reject=3.0, persistence=(2, 3), hysteresis=0.5)
QUIET_S = 6 * 3600.0
"""NG that come closer to each other than this are one alarm."""

Times = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Warned:
    """`leads_s` from the first NG within each labelled window to its middle, the labelled moment; None: missed.

    `false_s` are the times of the alarms that begin outside of all windows, of `days` in all.
    """

    leads_s: tuple[float | None, ...]
    false_s: tuple[float, ...]
    days: float


def measure(folder: Path = FOLDER) -> Warned:
    """Run the recording through the production path, window by window.

    Raises:
        FactoryError: the data is not there.
    """
    times, values = read_series(folder)
    with tempfile.TemporaryDirectory(prefix="lineside-") as name:
        model = make_model(Path(name))
    ends = times[HOUR - 1 :: HOUR][: len(values) // HOUR]
    alarms = list(warn(model, ends, values))
    windows = read_windows(folder)
    leads = [next(((low + high) / 2 - at for at in alarms if low <= at <= high), None) for low, high in windows]
    outside = [at for at in beginnings(alarms) if not any(low <= at <= high for low, high in windows)]
    return Warned(tuple(leads), tuple(outside), (times[-1] - times[0]) / 86_400)


def make_model(folder: Path) -> Model:
    """The bundle of the trend, loaded as a gateway does."""
    manifest = Manifest(
        schema=1,
        name="slow-drift",
        version="1.0.0",
        task="window-anomaly",
        input=WindowInput(tensor="window", length=HOUR, rate_hz=1 / STEP_S, channel="temperature", features="raw"),
        output=WindowAnomalyOutput(),
        operating_point=POINT,
        variants=(Variant(name="fp32", file="fp32.onnx"),),
        files={},
        states=trend.STATES,
        requires=("window-anomaly", "states"),
    )
    write_bundle(folder / "slow-drift", manifest, {"fp32.onnx": trend.make_graph(TREND)})
    return Model.load(folder / "slow-drift")


def warn(model: Model, ends: Times, values: Times) -> Iterator[float]:
    """When the verdict is NG: the ends of those windows."""
    decider = Decider(model.operating_point)
    for number, end in enumerate(ends):
        window = values[number * HOUR : (number + 1) * HOUR]
        prediction, _ = model.judge(Sample({"temperature": Channel(window, 0)}))
        if decider.decide(prediction)[0] is Verdict.NG:
            yield float(end)


def beginnings(alarms: Sequence[float]) -> list[float]:
    """The first of each run of alarms that follow each other within `QUIET_S`."""
    return [at for at, before in zip(alarms, (-np.inf, *alarms), strict=False) if at - before > QUIET_S]


def read_series(folder: Path) -> tuple[Times, Times]:
    """Times in seconds and values.

    Raises:
        FactoryError: the file is not there.
    """
    try:
        lines = (folder / DATA).read_text().splitlines()[1:]
    except OSError as error:
        message = f"{folder / DATA} cannot be read: {error.strerror}"
        raise FactoryError(message, "put NAB's file and its failure windows there, or leave this report out") from error
    rows = list(csv.reader(lines))
    return np.array([_seconds(at) for at, _ in rows]), np.array([float(value) for _, value in rows])


def read_windows(folder: Path) -> list[tuple[float, float]]:
    """Beginning and end of each labelled failure, in seconds."""
    found = json.loads((folder / WINDOWS).read_text())
    return [(_seconds(low), _seconds(high)) for windows in found.values() for low, high in windows]


def report(warned: Warned) -> list[str]:
    """What was measured, a line each."""
    hours = ", ".join(f"{lead / 3600:.1f} h" if lead is not None else "missed" for lead in warned.leads_s)
    count, per_week = len(warned.false_s), len(warned.false_s) / warned.days * 7
    return [
        f"slow-drift: first NG before the labelled moment of {len(warned.leads_s)} failures: {hours}",
        f"slow-drift: alarms outside the labelled windows: {count} in {warned.days:.0f} days, {per_week:.2f} a week",
    ]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
