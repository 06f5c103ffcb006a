"""What a day is played with: the models as their recipes make them, and the real data that the gateways are shown."""

from collections.abc import Mapping
from pathlib import Path

from cloud_hub.errors import FactoryError
from cloud_hub.factory.datasets import stage_demo_data
from scripts.day.children import Children, DayError
from scripts.day.plant import GATEWAYS

ROOT = Path(__file__).parents[2]
BUNDLES = ROOT / ".lineside" / "bundles"


def build_models(children: Children, *, anew: bool) -> Mapping[str, Path]:
    """The bundles by the names of their models. What the same code and data made is kept, but `anew`.

    Raises:
        DayError: a recipe failed; it said why.
    """
    models = sorted({gateway.model for gateway in GATEWAYS})
    for model in models:
        recipe = [str(ROOT / "models" / model / "recipe.py"), "--out", str(BUNDLES)]
        children.show(f"the recipe of {model}", ["python", *recipe, *([] if anew else ["--if-changed"])])
    return {model: BUNDLES / model for model in models}


def stage_data(folder: Path) -> Mapping[str, Path]:
    """The data by the names of scenes: photographs copied into `folder`, engine noise where it was installed.

    Raises:
        DayError: a package that brings the data is not installed.
    """
    try:
        staged = stage_demo_data(folder)
    except FactoryError as error:
        raise DayError(str(error), error.hint) from error
    return {"textures": staged.surfaces, "windows": staged.engine_noise}
