"""What a day is played with: the models as their recipes make them, and the real data that the gateways are shown."""

from collections.abc import Mapping
from pathlib import Path

import cv2

from cloud_hub.errors import FactoryError, LeftOut
from cloud_hub.factory import yard
from cloud_hub.factory.datasets import stage_demo_data
from edge_protocol import bundle
from edge_protocol.errors import ManifestError
from scripts.day.children import Children, DayError
from scripts.day.plant import GATEWAYS, YARD

ROOT = Path(__file__).parents[2]
BUNDLES = ROOT / ".lineside" / "bundles"


CLIP = slice(180, 330, 3)
"""Of the yard's frames: in these, people come close to the tape."""

CLIP_HZ = 2
_CODEC = "MJPG"


def build_models(children: Children, *, anew: bool) -> Mapping[str, Path]:
    """The bundles by the names of their models; the yard's only where its recipe has what it is made of.

    What the same code and data made is kept, but `anew`.

    Raises:
        DayError: a recipe failed; it said why.
    """
    models = sorted({gateway.model for gateway in (*GATEWAYS, YARD)})
    for model in models:
        recipe = [str(ROOT / "models" / model / "recipe.py"), "--out", str(BUNDLES)]
        children.show(f"the recipe of {model}", ["python", *recipe, *([] if anew else ["--if-changed"])])
    return {model: BUNDLES / model for model in models if model != YARD.model or is_built(BUNDLES / model)}


def stage_data(folder: Path) -> Mapping[str, Path]:
    """The data by the names of scenes: photographs and a clip in `folder`, engine noise where it was installed.

    The clip of the yard is there only where its video is.

    Raises:
        DayError: a package that brings the data is not installed.
    """
    try:
        staged = stage_demo_data(folder)
    except FactoryError as error:
        raise DayError(str(error), error.hint) from error
    return {"textures": staged.surfaces, "windows": staged.engine_noise} | _stage_yard(folder)


def is_built(folder: Path) -> bool:
    """Whether an agent takes what lies there: a recipe that was left out leaves what an older one made."""
    try:
        bundle.load(folder)
    except ManifestError:
        return False
    return True


def _stage_yard(folder: Path) -> dict[str, Path]:
    clip = folder / "yard.avi"
    if not is_built(BUNDLES / YARD.model):
        return {}  # its recipe has said why, and has looked for the video already
    try:
        frames = yard.read_frames(yard.find_video())
    except LeftOut:
        return {}
    except FactoryError as error:
        raise DayError(str(error), error.hint) from error
    size = (yard.WIDTH, yard.HEIGHT)
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*_CODEC), CLIP_HZ, size)
    for frame in frames[CLIP]:
        writer.write(frame)
    writer.release()
    return {YARD.scene: clip}
