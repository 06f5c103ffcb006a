"""Collections of real parts that others have photographed: where they may lie, and their pictures.

None of them is in the repository or fetched by it. A recipe that wants one leaves its model out where it is not there.
"""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from cloud_hub.errors import LeftOut
from cloud_hub.factory.fetch import DOWNLOADS

_ROOT = Path(__file__).resolve().parents[2]

Picture = npt.NDArray[np.uint8]


def find_collection(name: str, origin: str) -> Path:
    """The folder of a collection: beside the checkout, or among the downloads.

    Raises:
        LeftOut: it is nowhere; the hint says where it comes from and where it may be put.
    """
    for place in (_ROOT.parent / "shared" / "data" / name, DOWNLOADS / name):
        if place.is_dir():
            return place
    message = f"the collection {name} is not on this machine"
    raise LeftOut(message, f"it is {origin}; put its folder at {DOWNLOADS / name}")


def read_folder(folder: Path, pattern: str = "*") -> list[Picture]:
    """The pictures of a folder in the order of their names, BGR."""
    found = [cv2.imread(str(path)) for path in sorted(folder.glob(pattern))]
    return [np.asarray(picture, np.uint8) for picture in found if picture is not None]


def cut(picture: Picture, side: int) -> dict[tuple[int, int], Picture]:
    """Square pieces of a picture by row and column; what is left at the edges is not used."""
    rows, columns = picture.shape[0] // side, picture.shape[1] // side
    return {
        (row, column): np.ascontiguousarray(picture[row * side : (row + 1) * side, column * side : (column + 1) * side])
        for row in range(rows)
        for column in range(columns)
    }
