"""What the source delivered comes in, the model's tensor goes out, exactly as the manifest's input contract says.

The one implementation of the contract: training, calibration, evaluation, self-test and the line all run it.
A preprocessor keeps its buffers and so belongs to one thread at a time.
"""

from collections.abc import Callable
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.errors import InferenceError
from edge_agent.inference.features import Window, check_window, log_power_spectrum, read_window
from edge_agent.inference.geometry import Geometry, Picture
from edge_agent.inference.picture import GREY, check_picture, read_picture
from edge_protocol.bundle import ImageInput, InputContract, WindowInput
from edge_protocol.codes import Reason

Array = npt.NDArray[Any]


class Preprocessor(Protocol):
    """From delivered data to tensor in three stages, of which `write` does the last two."""

    @property
    def channel(self) -> str:
        """The name of the channel of a sample that this contract judges."""

    @property
    def tensor_name(self) -> str:
        """The name of the graph's input."""

    def new_tensor(self) -> Array:
        """A tensor to write into."""

    def decode(self, data: bytes | Array) -> Array:
        """Checked values of `data`. Raises InferenceError: UNREADABLE, WRONG_SHAPE or NOT_FINITE."""

    def geometry(self, array: Array) -> Array:
        """The decoded values brought to the model's size, valid until the next call."""

    def normalise(self, fitted: Array, out: Array) -> None:
        """Write what `geometry` gave as the tensor."""

    def write(self, array: Array, out: Array) -> None:
        """Write decoded values into a tensor of `new_tensor`. Raises InferenceError: WRONG_SHAPE or NOT_FINITE."""


def make_preprocessor(contract: InputContract) -> Preprocessor:
    """The preprocessor of a contract."""
    return _PREPROCESSORS[type(contract)](contract)


class ImagePreprocessor:
    """Pictures: decode → colour → region of interest → geometry → (value - mean) / std → layout."""

    channel = "image"

    def __init__(self, contract: ImageInput) -> None:
        self._contract = contract
        self._geometry = Geometry(contract)
        self.tensor_name = contract.tensor
        self._tables = _make_tables(contract)
        self._planes = [np.empty((contract.height, contract.width), np.uint8) for _ in range(3)]

    def new_tensor(self) -> Array:
        """A tensor of the contract's layout and type."""
        height, width, channels = self._contract.height, self._contract.width, len(self._tables)
        shape = (1, channels, height, width) if self._contract.layout == "nchw" else (1, height, width, channels)
        return np.zeros(shape, self._contract.dtype)

    def decode(self, data: bytes | Array) -> Picture:
        """A picture from its bytes, or the array checked."""
        return check_picture(data) if isinstance(data, np.ndarray) else read_picture(data)

    def geometry(self, array: Array) -> Picture:
        """The picture at the contract's size."""
        return self._geometry.fit(array)

    def normalise(self, fitted: Array, out: Array) -> None:
        """Colour order, (value - mean) / std, layout. A uint8 tensor takes the values as they are."""
        for channel, plane in enumerate(self._split(fitted)):
            target = out[0, channel] if self._contract.layout == "nchw" else out[0, :, :, channel]
            if self._contract.dtype == "uint8":
                target[...] = plane
            elif target.flags.c_contiguous:
                cv2.LUT(plane, self._tables[channel], target)
            else:
                target[...] = self._tables[channel][plane]

    def write(self, array: Array, out: Array) -> None:
        """Geometry and normalisation in one."""
        self.normalise(self.geometry(array), out)

    def _split(self, fitted: Picture) -> list[Picture]:
        if fitted.ndim == GREY:
            return [fitted] * len(self._tables)
        cv2.split(fitted, self._planes)
        return self._planes[::-1] if self._contract.colour == "rgb" else self._planes


class WindowPreprocessor:
    """Windows: decode → features → (value - mean) / std."""

    def __init__(self, contract: WindowInput) -> None:
        self._contract = contract
        self.channel = contract.channel
        self.tensor_name = contract.tensor
        self._mean = np.array(contract.mean or 0.0)
        self._std = np.array(contract.std or 1.0)
        self._features: Callable[[Window], Window] = {
            "log-power-spectrum": lambda window: log_power_spectrum(window, contract.bands),
            "raw": lambda window: window,
        }[contract.features]

    def new_tensor(self) -> Array:
        """A tensor of one row of features."""
        raw = self._contract.features == "raw"
        return np.zeros((1, self._contract.length if raw else self._contract.bands), np.float32)

    def decode(self, data: bytes | Array) -> Window:
        """A window from the bytes of a .npy file, or the array checked."""
        length = self._contract.length
        return check_window(data, length) if isinstance(data, np.ndarray) else read_window(data, length)

    def geometry(self, array: Array) -> Window:
        """The features of the window."""
        return self._features(array)

    def normalise(self, fitted: Array, out: Array) -> None:
        """Standardise the features.

        Raises:
            InferenceError: NOT_FINITE: the values of the window were too large for their squares.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            out[0] = (fitted - self._mean) / self._std
        if not np.isfinite(out).all():
            message = "a window whose features are not finite"
            raise InferenceError(message, "look at the sensor's range", Reason.NOT_FINITE)

    def write(self, array: Array, out: Array) -> None:
        """Features and standardisation in one."""
        self.normalise(self.geometry(array), out)


def _make_tables(contract: ImageInput) -> list[npt.NDArray[np.float32]]:
    """Per channel the 256 values a grey level can become: rounded once, the same on every machine."""
    levels = np.arange(256, dtype=np.float64)
    return [((levels - m) / s).astype(np.float32) for m, s in zip(contract.mean, contract.std, strict=True)]


_PREPROCESSORS: dict[type, Callable[[Any], Preprocessor]] = {
    ImageInput: ImagePreprocessor,
    WindowInput: WindowPreprocessor,
}
