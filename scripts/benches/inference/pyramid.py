"""What halving a picture exactly before the last resize is worth, and whether a scratch survives it."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edge_agent.inference.geometry import Geometry
from edge_protocol.bundle import ImageInput
from scripts.benches import pairs
from scripts.benches.ground.supplies import say

FIGURES = {
    "pyramid_vs_area": "1080p to 224 × 224: speed by exact halves and then area ÷ by area at once (≥ 4)",
    "scratches_kept": "of 200 dark scratches two pixels wide, those that are still seen at 224 × 224 (200)",
}

SIDE, HEIGHT, WIDTH = 224, 1080, 1920
SCRATCHES, SCRATCH_PX = 200, 2
BACKGROUND, DARK = 128, 0
CONTRAST = 10
"""Grey levels below the background at which a scratch counts as seen."""

SLICES, RUNS = 21, 20

Picture = npt.NDArray[np.uint8]


def measure() -> dict[str, float]:
    """Both figures."""
    picture = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    found = pairs.ratios(_rate("area-pyramid", picture), _rate("area", picture), SLICES)
    kept = {name: _kept(name) for name in ("area-pyramid", "area", "linear")}
    say(f"by exact halves: {pairs.told(found)} times as fast as by area at once")
    say("scratches kept: " + ", ".join(f"{name} {n} of {SCRATCHES}" for name, n in kept.items()))
    return {"pyramid_vs_area": pairs.median(found), "scratches_kept": float(kept["area-pyramid"])}


def _geometry(resize: str) -> Geometry:
    return Geometry(ImageInput(tensor="image", width=SIDE, height=SIDE, resize=resize))  # type: ignore[arg-type]


def _rate(resize: str, picture: Picture) -> Callable[[], float]:
    geometry = _geometry(resize)
    geometry.fit(picture)
    return pairs.rate_of(lambda: geometry.fit(picture), RUNS)


def _kept(resize: str) -> int:
    geometry, seen = _geometry(resize), 0
    for at in np.linspace(0, WIDTH - SCRATCH_PX, SCRATCHES).astype(int):
        picture = np.full((HEIGHT, WIDTH), BACKGROUND, np.uint8)
        picture[:, at : at + SCRATCH_PX] = DARK
        seen += bool(BACKGROUND - int(geometry.fit(picture).min()) >= CONTRAST)
    return seen
