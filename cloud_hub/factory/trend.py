"""What a slow quantity usually is, learnt on the gateway itself: a stateful ONNX graph, and the same in numpy.

For temperatures, currents and levels, whose usual value moves with the weeks. The graph carries mean, variance and
age from window to window; nothing is taught beforehand. Thresholds are not chosen here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloud_hub.factory.graph import Graph
from edge_protocol.bundle import State

STATES = tuple(State(input=name, output=f"{name}_next", shape=(1,)) for name in ("mean", "variance", "age"))

DOUBT = 3.0
"""Deviations at which half of the usual weight is given to a window: what is far from usual is hardly learnt."""


@dataclass(frozen=True, slots=True)
class Trend:
    """`memory` windows are what is usual; the first `warm_up` are learnt as they are and score nothing.

    `smallest` is the least deviation that is taken seriously, in the unit of the window: finer is the sensor's noise.
    """

    length: int
    memory: float
    warm_up: int
    smallest: float


def score(trend: Trend, windows: Iterable[npt.NDArray[np.float64]]) -> Iterator[float]:
    """How many deviations the mean of each window is from what is usual: what the graph says, in numpy."""
    mean = variance = age = 0.0
    for window in windows:
        away = float(window.mean()) - mean
        distance = abs(away) / max(variance, trend.smallest**2) ** 0.5
        is_ready = age >= trend.warm_up
        weight = max(1 / trend.memory, 1 / (age + 1))
        weight /= 1 + (distance / DOUBT) ** 4 if is_ready else 1
        mean += weight * away
        variance = (1 - weight) * (variance + weight * away**2)
        age += 1
        yield distance if is_ready else 0.0


def make_graph(trend: Trend, tensor: str = "window") -> bytes:
    """`tensor` [1, length] and `STATES` to `score` [1] and their next values, for the task window-anomaly."""
    graph, one = Graph("trend"), np.ones(1, np.float32)
    value = graph.node("ReduceMean", tensor, axes=[1], keepdims=0)
    away = graph.node("Sub", value, "mean")
    floor = np.array([trend.smallest**2], np.float32)
    distance = graph.node("Div", graph.node("Abs", away), graph.node("Sqrt", graph.node("Max", "variance", floor)))
    warm_up = np.array([trend.warm_up], np.float32)
    ready = graph.node("Cast", graph.node("GreaterOrEqual", "age", warm_up), to=1)
    graph.node("Mul", distance, ready, output="score")
    older = graph.node("Add", "age", one, output="age_next")
    usual = graph.node("Max", graph.node("Div", one, older), np.array([1 / trend.memory], np.float32))
    doubt = graph.node("Pow", graph.node("Div", distance, np.array([DOUBT], np.float32)), np.array([4], np.float32))
    weight = graph.node("Div", usual, graph.node("Add", graph.node("Mul", doubt, ready), one))
    step = graph.node("Mul", weight, away)
    graph.node("Add", "mean", step, output="mean_next")
    spread = graph.node("Add", "variance", graph.node("Mul", step, away))
    graph.node("Mul", graph.node("Sub", one, weight), spread, output="variance_next")
    states = {state.input: state.shape for state in STATES}
    outputs = {"score": [1], **{state.output: state.shape for state in STATES}}
    return graph.model({tensor: [1, trend.length], **states}, outputs)
