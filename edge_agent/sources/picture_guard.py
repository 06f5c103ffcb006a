"""Whether a picture shows anything: black, glare, blur, a shift of colour, a part that lies elsewhere.

A look comes in, a reason goes out; it remembers nothing, and asks only what it was given limits for.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.errors import ConfigError
from edge_agent.sample import Look
from edge_agent.settings import Guard as Settings
from edge_protocol.codes import Reason
from edge_protocol.counters import Reference, SignalReference

Array: TypeAlias = npt.NDArray[Any]
Signals: TypeAlias = Mapping[str, float]

WHITE = 250
"""From here on a pixel is white: a sensor's own noise keeps clipped pixels a little below 255."""

SIDE = 64
"""Side of the small picture that is compared with the one of a part in its place: that is done for each part."""

FOUND = 0.1
"""Below this answer of the correlation the taught picture is not found in the new one at all."""

COLOURS = ("red_green", "blue_green")
SHARPNESS = "sharpness"


class PictureGuard:
    """The limits for one pipeline's pictures."""

    def __init__(self, settings: Settings, reference: Reference | None) -> None:
        """Raises ConfigError: the picture of `placed_like` cannot be read."""
        self._settings = settings
        taught = {each.name: _span(each) for each in reference.signals} if reference is not None else {}
        sharpness = taught[SHARPNESS][0] * settings.blur_share if SHARPNESS in taught else 0.0
        self._blur_below = max(settings.blur_below, sharpness)
        factor = settings.colour_factor
        self._colours = {
            name: (taught[name][0] / factor, taught[name][1] * factor) for name in COLOURS if factor and name in taught
        }
        self._white = np.empty((0, 0), np.uint8)
        self._place = Place(settings.placed_like) if settings.placed_like is not None else None

    @property
    def limits(self) -> dict[str, tuple[float, float | None]]:
        """By signal, what it must not be below, and above: the configured limits and those that good parts taught."""
        colours: dict[str, tuple[float, float | None]] = {**self._colours}
        return {"luma_mean": (self._settings.black_below, None), SHARPNESS: (self._blur_below, None), **colours}

    def check(self, look: Look) -> Reason:
        """Why nothing can be said of this picture, the plainest reason first."""
        if look.luma is None or not look.luma.size:
            return Reason.WRONG_SHAPE
        senses = {
            Reason.BLACK: self._is_black,
            Reason.GLARE: self._is_glare,
            Reason.COLOUR_SHIFT: self._is_shifted,
            Reason.BLUR: self._is_blurred,
            Reason.MISPLACED: self._is_misplaced,
        }
        return next((reason for reason, sense in senses.items() if sense(look.luma, look.signals)), Reason.NONE)

    def _is_black(self, _luma: Array, signals: Signals) -> bool:
        return signals["luma_mean"] < self._settings.black_below

    def _is_glare(self, luma: Array, _signals: Signals) -> bool:
        if self._settings.glare_above == 1:
            return False
        if luma.shape != self._white.shape:
            self._white = np.empty(luma.shape, np.uint8)
        white = cv2.countNonZero(cv2.inRange(luma, WHITE, 255, self._white))
        return white > self._settings.glare_above * luma.size

    def _is_shifted(self, _luma: Array, signals: Signals) -> bool:
        return any(not low <= signals.get(name, low) <= high for name, (low, high) in self._colours.items())

    def _is_blurred(self, _luma: Array, signals: Signals) -> bool:
        return signals[SHARPNESS] < self._blur_below

    def _is_misplaced(self, luma: Array, _signals: Signals) -> bool:
        return self._place is not None and self._place.shift(luma) > self._settings.misplaced_above


class Place:
    """How far a scene has moved against a taught one. For what lies alike each time: a fixture, a fixed camera."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError: `path` is no picture."""
        self._taught = _read(path)
        self._window = cv2.createHanningWindow((SIDE, SIDE), cv2.CV_32F)

    def shift(self, luma: Array) -> float:
        """The shift in shares of the side, the larger of both directions; 1 where nothing alike is found."""
        small = cv2.resize(luma, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        # It weighs its arguments in place: the taught picture is lent as a copy.
        (x, y), answer = cv2.phaseCorrelate(self._taught.copy(), small, self._window)
        return float(max(abs(x), abs(y))) / SIDE if answer >= FOUND else 1.0


def _span(signal: SignalReference) -> tuple[float, float]:
    """The edges around the bins that hold good parts: edges may reach far beyond what there was to count."""
    edges = signal.edges
    held = [at for at, parts in enumerate(signal.counts[: len(edges) + 1]) if parts] or [0, len(edges)]
    return edges[max(held[0] - 1, 0)], edges[min(held[-1], len(edges) - 1)]


@lru_cache(maxsize=16)
def _read(path: Path) -> npt.NDArray[np.float32]:
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    if picture is None:
        message = f"[pipelines.guard] placed_like: {path} is no picture that can be read"
        raise ConfigError(message, "give a PNG or JPEG of one part in its place, taken by this camera")
    # The same rows that are looked at on the line, see `signals.Sampler`.
    rows = picture[:: max(1, picture.shape[0] // 128)]
    small: npt.NDArray[np.float32] = cv2.resize(rows, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    return small
