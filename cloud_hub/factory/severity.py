"""Which velocities of vibration a machine of a group may have: a table to choose from, and a graph that reads one off.

The numbers are those of ISO 20816-3:2022 as our field notes remember them, not copied from it: a person checks the
standard before a bundle is made. The bundle carries the three limits that hold for its machine, and no table.
"""

import numpy as np

from cloud_hub.factory.graph import Graph
from edge_protocol.contract import OperatingPoint, WindowInput
from edge_protocol.features import VELOCITY, feature_names

Limits = tuple[float, float, float]

LIMITS_MM_S: dict[tuple[str, str], Limits] = {
    ("above 300 kW", "rigid"): (2.3, 4.5, 7.1),
    ("above 300 kW", "flexible"): (3.5, 7.1, 11.0),
    ("15 to 300 kW", "rigid"): (1.4, 2.8, 4.5),
    ("15 to 300 kW", "flexible"): (2.3, 4.5, 7.1),
}
"""A/B, B/C and C/D in mm/s, by the machine's power and its foundation."""


def operating_point(limits: Limits, persistence: tuple[int, int] = (3, 5), hysteresis: float = 0.0) -> OperatingPoint:
    """Zones A and B are OK, C is REVIEW, D is NG: the score is the velocity itself."""
    return OperatingPoint(accept=limits[1], reject=limits[2], persistence=persistence, hysteresis=hysteresis)


def make_graph(contract: WindowInput) -> bytes:
    """The contract's tensor to `score` [1]: its velocity in mm/s, of several axes the largest."""
    names = feature_names(contract)
    places = [place for place, name in enumerate(names) if name.endswith(VELOCITY)]
    graph = Graph("severity")
    values = graph.node("Gather", contract.tensor, np.array(places, np.int64), axis=1)
    if contract.std:
        mean, std = (np.array(each, np.float32)[None, places] for each in (contract.mean, contract.std))
        values = graph.node("Add", graph.node("Mul", values, std), mean)
    graph.node("ReduceMax", values, axes=[1], keepdims=0, output="score")
    return graph.model({contract.tensor: [1, len(names)]}, {"score": [1]})
