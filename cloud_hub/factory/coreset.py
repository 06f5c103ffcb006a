"""Many points come in, the few that cover them best go out."""

from typing import Any

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float32]


def greedy_k_center(points: Points, size: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Indices of `size` points, each the farthest from those before it: twice the best radius at most (Gonzalez)."""
    squares = np.einsum("ij,ij->i", points, points)
    chosen = [int(rng.integers(len(points)))]
    nearest = np.full(len(points), np.inf, np.float32)
    while len(chosen) < min(size, len(points)):
        last = chosen[-1]
        distance = squares + squares[last] - 2 * (points @ points[last])
        np.minimum(nearest, distance, out=nearest)
        chosen.append(int(nearest.argmax()))
    return np.array(chosen)
