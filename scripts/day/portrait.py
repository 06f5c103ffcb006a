"""One part with the reason for its verdict: drawn and judged again by the production code, as PNG and as blocks.

A drawn part and a bundle come in, files and lines for a terminal go out. The line has long had its verdict.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.style import Style
from rich.text import Text

from edge_agent.inference.model import Model
from edge_agent.inference.overlay import draw_overlay
from edge_agent.sample import Channel, Sample
from edge_protocol.bundle import ImageInput

COLUMNS, ROWS = 36, 18
SHADES = " .:-=+*#%@"
CALM = 0.75
"""Below this share of the threshold of OK nothing is shown: characters have fewer shades than colours."""

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Portrait:
    """A part and what the model saw in it. `heat` is 1 from the threshold of rejection on, 0 well below that of OK."""

    picture: Picture
    overlay: Picture
    heat: npt.NDArray[Any]
    score: float
    verdict: str
    files: tuple[Path, Path]


def take(bundle: Path, picture: Picture, folder: Path, name: str) -> Portrait:
    """Judge `picture` and write `name`.png and `name`-heatmap.png into `folder`."""
    model = Model.load(bundle)
    prediction, _ = model.judge(Sample({model.preprocessor.channel: Channel(picture, 0)}))
    verdict, _ = model.verdict(prediction)
    contract = model.manifest.input
    if prediction.heatmap is None or not isinstance(contract, ImageInput):
        message = f"the model in {bundle} gives no heatmap"
        raise ValueError(message)
    point = model.operating_point
    png = draw_overlay(picture, prediction, contract, point)
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / f"{name}.png", folder / f"{name}-heatmap.png"
    files[0].write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    files[1].write_bytes(png)
    overlay = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    low = point.accept * CALM
    heat = np.clip((prediction.heatmap - low) / max(point.reject - low, 1e-9), 0, 1)
    return Portrait(picture, np.asarray(overlay, np.uint8), heat, prediction.score, verdict.name, files)


def blocks(portrait: Portrait, console: Console) -> list[Text]:
    """The part beside its heatmap where the terminal has colours, else the heatmap alone in characters."""
    if console.is_terminal and console.color_system in ("256", "truecolor"):
        part, heat = half_blocks(portrait.picture), half_blocks(portrait.overlay)
        return [Text.assemble(left, "   ", right) for left, right in zip(part, heat, strict=True)]
    return [Text(line) for line in shades(portrait.heat)]


def shades(heat: npt.NDArray[Any]) -> list[str]:
    """Values 0…1 as lines of characters; the highest of those that a character covers counts."""
    height, width = heat.shape
    down, across = _spans(height, ROWS), _spans(width, COLUMNS)
    return ["".join(_shade(heat[rows, columns].max()) for columns in across) for rows in down]


def _spans(size: int, cells: int) -> list[slice]:
    """What each of `cells` covers of `size` values; where there are fewer values, neighbours share one."""
    return [slice(i * size // cells, math.ceil((i + 1) * size / cells)) for i in range(cells)]


def _shade(value: float) -> str:
    return SHADES[round(float(value) * (len(SHADES) - 1))]


def half_blocks(picture: Picture) -> list[Text]:
    """A picture in characters of two pixels each, the upper in the letter's colour and the lower behind it."""
    small = cv2.resize(picture, (COLUMNS, ROWS * 2), interpolation=cv2.INTER_AREA)
    return [
        Text.assemble(
            *(("▀", Style(color=_hex(above), bgcolor=_hex(below))) for above, below in zip(*pair, strict=True))
        )
        for pair in zip(small[::2], small[1::2], strict=True)
    ]


def _hex(bgr: npt.NDArray[Any]) -> str:
    blue, green, red = (int(value) for value in bgr)
    return f"#{red:02x}{green:02x}{blue:02x}"
