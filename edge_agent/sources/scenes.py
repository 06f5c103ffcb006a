"""Recorded pictures and windows come in, fresh samples go out: the same scene, seed and number always give the same.

A surface is a random crop of a real photograph with a camera's noise, at times with a defect drawn on it; a window is a
recorded row. Shared by the replay source and by the recipes, so that both speak of the same parts.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

Picture: TypeAlias = npt.NDArray[np.uint8]
Canvas: TypeAlias = npt.NDArray[np.float32]
"""A picture being made: [h, w, 3] in grey levels, with fractions."""

Window: TypeAlias = npt.NDArray[np.float64]
Half: TypeAlias = Literal["left", "right", "whole"]
Rng: TypeAlias = np.random.Generator

NOISE_LEVELS = 1.5
"""Standard deviation of the camera's noise in grey levels; it also makes sure that no two frames are equal."""

LIGHT_SPREAD = 0.02
"""Standard deviation of the lamp's brightness from frame to frame, as a share."""


class TextureScene:
    """Parts cut from the photographs of a folder: `draw(n)` gives part `n` and the name of the defect drawn, if any.

    `half` is the half of each photograph to cut from: one is for training, the other for everything after. Defects come
    in equal shares of `DEFECTS`, and parts in equal shares of the photographs.
    """

    def __init__(
        self, folder: Path, seed: int, half: Half = "right", defect_share: float = 0.05, *, crop_px: int = 224
    ) -> None:
        """Raises OSError: the folder cannot be read; ValueError: it holds no pictures that can be decoded."""
        pictures = read_pictures(folder)
        self._names = list(pictures)
        self._halves = [_half(picture, half) for picture in pictures.values()]
        self._seed = seed
        self._defect_share = defect_share
        self._crop_px = crop_px

    def draw_on(self, name: str, n: int) -> tuple[Picture, str | None]:
        """Part `n` of the photograph `name`, for figures on each surface apart."""
        rng = np.random.default_rng((self._seed, n, 1))
        return self._draw(rng, self._names.index(name))

    def draw(self, n: int) -> tuple[Picture, str | None]:
        """Part `n` as a BGR picture of `crop_px` × `crop_px`."""
        rng = np.random.default_rng((self._seed, n))
        return self._draw(rng, int(rng.integers(len(self._halves))))

    def defect(self, n: int) -> str | None:
        """The defect of part `n`, known without drawing it: the same random numbers, and no pixel."""
        rng = np.random.default_rng((self._seed, n))
        self._crop(rng, int(rng.integers(len(self._halves))))
        return self._choose(rng)

    def _draw(self, rng: Rng, index: int) -> tuple[Picture, str | None]:
        canvas = self._cut(rng, index)
        defect = self._choose(rng)
        if defect is not None:
            DEFECTS[defect](canvas, rng, self._foreign(rng, index))
        return _photograph(canvas, rng), defect

    def _choose(self, rng: Rng) -> str | None:
        return str(rng.choice(sorted(DEFECTS))) if rng.random() < self._defect_share else None

    def _cut(self, rng: Rng, index: int) -> Canvas:
        return self._crop(rng, index).astype(np.float32)

    def _crop(self, rng: Rng, index: int) -> Picture:
        half = self._halves[index]
        side = min(self._crop_px, *half.shape[:2])
        y, x = (int(rng.integers(size - side + 1)) for size in half.shape[:2])
        return half[y : y + side, x : x + side]

    def _foreign(self, rng: Rng, index: int) -> Canvas:
        others = [i for i in range(len(self._halves)) if i != index]
        return self._cut(rng, int(rng.choice(others)) if others else index)


class WindowScene:
    """Recorded windows, rows of a table, label first: `draw(n)` gives one, and `fault` where its label is above 0."""

    def __init__(self, path: Path, seed: int, defect_share: float = 0.05) -> None:
        """Raises OSError: the file cannot be read; ValueError: it is no such table."""
        table = np.loadtxt(path, dtype=np.float64, ndmin=2) if path.stat().st_size else np.zeros((0, 2))
        is_faulty = table[:, 0] > 0
        self._rows = {None: table[~is_faulty, 1:], "fault": table[is_faulty, 1:]}
        if table.shape[1] <= 1 or not len(self._rows[None]):
            message = f"{path} holds no good windows"
            raise ValueError(message)
        self._seed = seed
        self._defect_share = defect_share if len(self._rows["fault"]) else 0.0

    def draw(self, n: int) -> tuple[Window, str | None]:
        """Window `n` as it was recorded."""
        rng = np.random.default_rng((self._seed, n))
        defect = self._choose(rng)
        rows = self._rows[defect]
        return rows[int(rng.integers(len(rows)))].copy(), defect

    def defect(self, n: int) -> str | None:
        """Whether window `n` is one of a `fault`, without looking at it."""
        return self._choose(np.random.default_rng((self._seed, n)))

    def _choose(self, rng: Rng) -> str | None:
        return "fault" if rng.random() < self._defect_share else None


def read_pictures(folder: Path) -> dict[str, Picture]:
    """The PNG and JPEG pictures of a folder in BGR, by the names of their files without ending.

    Raises:
        OSError: the folder cannot be read.
        ValueError: it holds no picture, or one that cannot be decoded.
    """
    pictures: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in {".png", ".jpg", ".jpeg"}:
            pictures[path.stem] = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if not pictures or any(picture is None for picture in pictures.values()):
        message = "no pictures there that can be decoded"
        raise ValueError(message)
    return pictures


def _half(picture: Picture, half: Half) -> Picture:
    middle = picture.shape[1] // 2
    return {"left": picture[:, :middle], "right": picture[:, middle:], "whole": picture}[half]


def _scratch(canvas: Canvas, rng: Rng, _foreign: Canvas) -> None:
    """A thin bent line, darker or brighter than what is around it."""
    side = canvas.shape[0]
    length, angle = side * rng.uniform(0.35, 0.8), rng.uniform(0, np.pi)
    middle = rng.uniform(0.3, 0.7, 2) * side
    along = np.array([np.cos(angle), np.sin(angle)])
    bend = np.array([-along[1], along[0]]) * rng.uniform(-0.06, 0.06) * side
    points = np.array([middle - along * length / 2, middle + bend, middle + along * length / 2])
    mask = np.zeros(canvas.shape[:2], np.uint8)
    cv2.polylines(
        mask,
        [points.round().astype(np.int32)],
        isClosed=False,
        color=255,
        thickness=int(rng.integers(2, 4)),
        lineType=cv2.LINE_AA,
    )
    level = rng.choice((15.0, 245.0))
    _blend(canvas, np.full_like(canvas, level), mask, strength=0.9)


def _hole(canvas: Canvas, rng: Rng, _foreign: Canvas) -> None:
    """A dark spot with a soft rim."""
    side = canvas.shape[0]
    mask = _ellipse(side, rng, 0.05, 0.11)
    _blend(canvas, np.full_like(canvas, rng.uniform(5, 30)), cv2.GaussianBlur(mask, (0, 0), 1.2), strength=1.0)


def _patch(canvas: Canvas, rng: Rng, foreign: Canvas) -> None:
    """A spot of another surface."""
    mask = _ellipse(canvas.shape[0], rng, 0.11, 0.2)
    turned = cv2.rotate(foreign, cv2.ROTATE_90_CLOCKWISE)
    _blend(canvas, turned, cv2.GaussianBlur(mask, (0, 0), 1.5), strength=1.0)


DEFECTS: dict[str, Callable[[Canvas, Rng, Canvas], None]] = {
    "scratch": _scratch,
    "hole": _hole,
    "patch": _patch,
}
"""What can be drawn on a surface, by name; each changes the canvas it is given."""


def _ellipse(side: int, rng: Rng, smallest: float, largest: float) -> Picture:
    mask = np.zeros((side, side), np.uint8)
    x, y = (int(value) for value in rng.uniform(0.2, 0.8, 2) * side)
    axes = [max(2, int(value)) for value in rng.uniform(smallest, largest, 2) * side]
    cv2.ellipse(mask, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, 255, -1, cv2.LINE_AA)
    return mask


def _blend(canvas: Canvas, paint: npt.NDArray[Any], mask: npt.NDArray[Any], strength: float) -> None:
    alpha = mask[..., None].astype(np.float32) * (strength / 255)
    canvas += (paint - canvas) * alpha


def _photograph(canvas: Canvas, rng: Rng) -> Picture:
    """What a camera makes of it: a lamp that is never quite the same, and noise, equal in all three colours."""
    noise = rng.standard_normal(canvas.shape[:2], np.float32)[..., None] * np.float32(NOISE_LEVELS)
    light = np.float32(1 + LIGHT_SPREAD * rng.standard_normal())
    return (canvas * light + noise).round().clip(0, 255).astype(np.uint8)
