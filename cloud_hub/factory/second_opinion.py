"""What was trained and its contract come in, what scores an input without the production path goes out.

Pillow instead of OpenCV, scipy instead of our features, scikit-learn or ONNX's reference evaluator instead of ONNX
Runtime: whatever both paths say of a golden is no mistake of either. Never used on the line.
"""

import io
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import PIL.Image
import scipy
import sklearn
from onnx.reference import ReferenceEvaluator

from cloud_hub.errors import FactoryError
from cloud_hub.factory.goldens import SecondOpinion
from edge_protocol.bundle import ImageInput, WindowInput

_FLOOR = 1e-9


def by_classifier(classifier: Any, contract: WindowInput) -> SecondOpinion:
    """The classifier that was trained, itself: its `predict_proba` of the second class, on features of scipy."""

    def score(data: bytes) -> float:
        row = _spectrum(np.load(io.BytesIO(data), allow_pickle=False).astype(np.float64), contract.bands)
        standard = (row - np.array(contract.mean)) / np.array(contract.std)
        return float(classifier.predict_proba(standard[None])[0, 1])

    return SecondOpinion(
        f"scikit-learn {sklearn.__version__} predict_proba on features of scipy {scipy.__version__}", score
    )


def by_reference(model: bytes, contract: ImageInput) -> SecondOpinion:
    """The float graph, node by node in numpy, on a picture that Pillow has decoded and numpy has resized.

    It shares the graph with the production path, and no code: what turned the weights into the graph is not checked.
    """
    if (contract.colour, contract.geometry, contract.resize, contract.roi) != ("rgb", "stretch", "area-pyramid", None):
        message = "a second opinion is had of pictures in RGB, stretched whole by the area pyramid"
        raise FactoryError(message, "let the framework that the model was trained in say what it makes of the golden")
    evaluator = ReferenceEvaluator(onnx.load_from_string(model))

    def score(data: bytes) -> float:
        with PIL.Image.open(io.BytesIO(data)) as picture:
            pixels = _resize(np.asarray(picture.convert("RGB"), np.float64), contract.height, contract.width)
        planes = ((pixels - np.array(contract.mean)) / np.array(contract.std)).transpose(2, 0, 1)
        (found,) = evaluator.run(["score"], {contract.tensor: planes[None].astype(np.float32)})
        return float(np.asarray(found).reshape(1)[0])

    return SecondOpinion(f"onnx {onnx.__version__} reference evaluator on pixels of Pillow {PIL.__version__}", score)


def is_one_way(sides: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether a picture becomes smaller, or larger, along both sides: area means something else where it is mixed."""
    pairs = list(zip(sides, wanted, strict=False))
    return all(side >= other for side, other in pairs) or all(side <= other for side, other in pairs)


def _resize(pixels: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.float64]:
    """`area-pyramid` as the specification words it: halves, rounded to grey levels, then the mean over each pixel."""
    wanted = (height, width)
    if not is_one_way(pixels.shape, wanted):
        message = f"a picture of {pixels.shape[1]} x {pixels.shape[0]} becomes larger one way and smaller the other"
        raise FactoryError(message, "give candidates that have both sides below, or both above, those of the model")
    while all(side % 2 == 0 and side >= 2 * other for side, other in zip(pixels.shape, wanted, strict=False)):
        pixels = np.floor((pixels[::2, ::2] + pixels[1::2, ::2] + pixels[::2, 1::2] + pixels[1::2, 1::2]) / 4 + 0.5)
    down, across = (_coverage(side, other) for side, other in zip(pixels.shape, wanted, strict=False))
    resized: npt.NDArray[np.float64] = np.rint(np.einsum("yh,hwc,xw->yxc", down, pixels, across, optimize=True))
    return resized


def _coverage(side: int, wanted: int) -> npt.NDArray[np.float64]:
    """[wanted, side]: the share that each pixel given has of each one wanted."""
    edges, cells = np.arange(wanted + 1) * side / wanted, np.arange(side)
    overlap = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    shares: npt.NDArray[np.float64] = np.maximum(overlap, 0) * wanted / side
    return shares


def _spectrum(window: npt.NDArray[np.float64], bands: int) -> npt.NDArray[np.float64]:
    """`log-power-spectrum` as the specification words it, band by band."""
    centred = scipy.signal.detrend(window, type="constant")
    scaled = centred / np.sqrt(np.mean(centred**2))
    power = np.abs(scipy.fft.rfft(scaled * scipy.signal.windows.hann(len(window), sym=True))) ** 2
    edges = [band * len(power) // bands for band in range(bands + 1)]
    return np.array([np.log(_FLOOR + power[low:high].sum()) for low, high in itertools.pairwise(edges)])
