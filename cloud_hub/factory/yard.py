"""The video of a site yard that OpenCV gives away with its samples: where it lies, its frames, and pictures made of it.

Apache-2.0. People walk through it: what goes into a bundle is the yard without them.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from cloud_hub.errors import FactoryError, LeftOut
from cloud_hub.factory.datasets import photograph
from cloud_hub.factory.fetch import DOWNLOADS, fetch_from_debian

VIDEO = "vtest.avi"
SHA256 = "45cddc9490be69345cbdab64ca583be65987e864ca408038e648db99e10516cf"
FRAMES, WIDTH, HEIGHT = 795, 768, 576

_ROOT = Path(__file__).resolve().parents[2]
_DEBIAN_PACKAGE, _DEBIAN_PATH = "opencv-doc", f"usr/share/doc/opencv-doc/examples/data/{VIDEO}"
_PLACES = (_ROOT.parent / "shared" / "data" / "yard" / VIDEO, Path("/") / _DEBIAN_PATH)
_EVERY = 15
_PERSON = slice(20, 420)
"""Columns of the portrait between which the person is."""

Picture = npt.NDArray[np.uint8]


def find_video(downloads: Path = DOWNLOADS) -> Path:
    """The video: beside the checkout, as Debian installs it, or taken out of Debian's package, which needs no root.

    Raises:
        LeftOut: it is nowhere, and apt does not get it; the hint says where it may be put.
    """
    for place in _PLACES:
        if place.is_file():
            return place
    try:
        return fetch_from_debian(_DEBIAN_PACKAGE, _DEBIAN_PATH, SHA256, downloads)
    except LeftOut as error:
        message = f"{VIDEO}, OpenCV's sample video of a yard, is not on this machine: {error}"
        raise LeftOut(message, f"copy it to {downloads / VIDEO}, or install {_DEBIAN_PACKAGE}") from error


def read_frames(video: Path) -> list[Picture]:
    """All frames in their order, BGR.

    Raises:
        FactoryError: it is another video, or OpenCV cannot decode it here.
    """
    capture = cv2.VideoCapture(str(video))
    frames = []
    while (found := capture.read())[0]:
        frames.append(np.asarray(found[1], np.uint8))
    capture.release()
    if len(frames) != FRAMES or frames[0].shape != (HEIGHT, WIDTH, 3):
        message = f"{video} gives {len(frames)} frames, not {FRAMES} of {WIDTH} × {HEIGHT}"
        raise FactoryError(message, "see that it is OpenCV's vtest.avi")
    return frames


def empty(frames: Sequence[Picture]) -> Picture:
    """The yard without people: the median over frames, in which nobody stands long enough."""
    return np.asarray(np.median(np.stack(frames[::_EVERY]), axis=0), np.uint8)


def with_portrait(picture: Picture, height: int, foot: tuple[int, int]) -> Picture:
    """The picture with NASA's public portrait of an astronaut in it, its lower left corner at `foot`.

    Raises:
        FactoryError: scikit-image, which brings it, is not installed.
    """
    portrait = photograph("astronaut.png")[:, _PERSON]
    width = portrait.shape[1] * height // portrait.shape[0]
    made = picture.copy()
    x, y = foot
    made[y - height : y, x : x + width] = cv2.resize(portrait, (width, height), interpolation=cv2.INTER_AREA)
    return made
