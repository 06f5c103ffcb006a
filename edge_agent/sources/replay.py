"""Recorded data comes in as if it were live: each trigger gets a draw of its own from a scene.

The draw is a function of the seed and the trigger's number, so nothing is kept and a restart goes on where it was.
Never claims to be live: its samples say `replayed`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_agent.errors import SourceError
from edge_agent.sample import Channel, Sample, Trigger
from edge_agent.settings import ReplaySource as Settings
from edge_agent.sources.scenes import TextureScene, WindowScene
from edge_protocol.codes import Verdict

Draw: TypeAlias = Callable[[int], npt.NDArray[Any]]

MAX_FACTOR = 10.0


class ReplaySource:
    """A scene that never ends."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._dimmer = Dimmer(settings.dimmer)
        self._draw: Draw | None = None

    def open(self) -> None:
        """Load the scene.

        Raises:
            SourceError: its data is missing or is not what the scene needs.
        """
        try:
            self._draw = _SCENES[self._settings.scene](self._settings)
        except (OSError, ValueError) as error:
            message = f"source {self._settings.name!r}: {self._settings.path}: {error}"
            raise SourceError(message, "correct `path`, or build the data: scripts/demo does") from error

    def waiting(self, mono_us: int) -> bool:  # noqa: ARG002 (a replay is never empty)
        """Always: there is no end of draws."""
        return self._draw is not None

    def grab(self, trigger: Trigger) -> Sample:
        """Draw number `trigger.n`, under the light that the dimmer lets through."""
        if self._draw is None:
            message = "grab before open"
            raise RuntimeError(message)
        data = self._draw(trigger.n)
        name = self._settings.channel
        if data.dtype == np.uint8:
            name, data = "image", self._dimmer.apply(data)
        return Sample({name: Channel(data, trigger.mono_us)}, part=f"P{trigger.n:06d}", replayed=True)

    def done(self, trigger: Trigger, verdict: Verdict) -> None:
        """Nothing is left behind."""

    def close(self) -> None:
        """Let go of the scene."""
        self._draw = None


class Dimmer:
    """The demonstrator's light: a factor in a text file, read again when the file changes. No file is full light."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp = (0, 0, 0)
        self._factor = 1.0

    def apply(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The picture as a sensor would see it under this light, rounded and clipped."""
        factor = self.factor()
        if factor == 1.0:
            return picture
        levels = np.clip(np.rint(np.arange(256) * factor), 0, 255).astype(np.uint8)
        dimmed: npt.NDArray[np.uint8] = levels.take(picture)
        return dimmed

    def factor(self) -> float:
        """The factor now; the last good one while the file holds something else."""
        if self._path is None:
            return 1.0
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp != self._stamp:
                factor = float(self._path.read_text("ascii"))
                self._stamp = stamp
                self._factor = factor if 0 <= factor <= MAX_FACTOR else self._factor
        except FileNotFoundError:
            self._stamp, self._factor = (0, 0, 0), 1.0
        except (OSError, ValueError):
            return self._factor
        return self._factor


def _textures(settings: Settings) -> Draw:
    share, crop_px = settings.defect_share, settings.crop_px
    scene = TextureScene(settings.path, settings.seed, settings.half, share, crop_px=crop_px)
    return lambda n: scene.draw(n)[0]


def _windows(settings: Settings) -> Draw:
    scene = WindowScene(settings.path, settings.seed, settings.defect_share)
    return lambda n: scene.draw(n)[0]


_SCENES: dict[str, Callable[[Settings], Draw]] = {"textures": _textures, "windows": _windows}
