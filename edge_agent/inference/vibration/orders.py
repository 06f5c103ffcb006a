"""A window and the speed of the shaft come in, the window by angle goes out: what turns with the shaft stands still."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Window: TypeAlias = npt.NDArray[np.float64]

_PIECE = 2048


def phase(speed_hz: Window, rate_hz: float) -> Window:
    """Turns of the shaft at each sample [n], from its speed at each sample [n], by the trapezoidal rule from zero."""
    turns = np.empty(speed_hz.size)
    turns[0] = 0.0
    np.cumsum((speed_hz[1:] + speed_hz[:-1]) * (0.5 / rate_hz), out=turns[1:])
    return turns


def at_equal_angles(turns: Window, points: int) -> Window:
    """The places in samples, with fractions, of `points` equal steps of angle from the first sample to the last."""
    angles = np.arange(points) * (turns[-1] / points)
    found: Window = np.interp(angles, turns, np.arange(turns.size, dtype=np.float64))
    return found


def interpolate(window: Window, places: Window, out: Window | None = None) -> Window:
    """The window at places between its samples, by the cubic through the four around each (Catmull-Rom).

    A sine of a tenth of the rate comes out within 2 %, one of a fiftieth within .02 %.
    """
    found = np.empty(places.size) if out is None else out
    # In pieces: what they need for a moment stays where it is, and in the processor's cache.
    for start in range(0, places.size, _PIECE):
        piece = places[start : start + _PIECE]
        index = np.clip(piece.astype(np.int64), 1, window.size - 3)
        t = piece - index
        before, here, there, after = (window[index + step] for step in (-1, 0, 1, 2))
        slope, bend = there - before, 2 * before - 5 * here + 4 * there - after
        found[start : start + _PIECE] = here + 0.5 * t * (
            slope + t * (bend + t * (3 * (here - there) + after - before))
        )
    return found


def resample(window: Window, turns: Window, points: int) -> Window:
    """The window [n] at `points` equal steps of angle; `turns` [n] as `phase` gives them.

    The spectrum of what comes out has orders for frequencies: bin k is order k / turns[-1].
    """
    return interpolate(window, at_equal_angles(turns, points))
