"""What the source delivered comes in, the model's tensor goes out, exactly as the manifest's input contract says.

The one implementation of the contract: training, calibration, evaluation, self-test and the line all run it.
A preprocessor keeps its buffers and so belongs to one thread at a time.
"""

import weakref
from collections.abc import Callable, Container
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.errors import InferenceError
from edge_agent.inference.features import Window, check_array, check_window, log_power_spectrum, read_array, read_window
from edge_agent.inference.geometry import Geometry, Picture, Placement
from edge_agent.inference.picture import GREY, check_picture, is_jpeg, read_header, read_picture
from edge_agent.inference.rows import gather_rows, read_rows
from edge_agent.inference.vibration.kit import Kit
from edge_protocol.bundle import ImageInput, InputContract, TensorInput, WindowInput
from edge_protocol.codes import Reason
from edge_protocol.features import feature_names

Array = npt.NDArray[Any]

_REAL = frozenset({"float32", "float64"})


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

    def write(self, array: Array, out: Array) -> Placement | None:
        """Write decoded values into a tensor of `new_tensor`; of a picture, where in the source the tensor lies.

        Raises InferenceError: WRONG_SHAPE or NOT_FINITE.
        """


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
        self._is_whole = contract.dtype not in _REAL
        self._tables = _make_tables(contract)
        self._table = np.ascontiguousarray(np.stack(self._tables, axis=-1)[None])
        self._planes = [np.empty((contract.height, contract.width), np.uint8) for _ in range(3)]
        self._picture = np.empty((contract.height, contract.width, 3), np.uint8)
        self._reduced: tuple[Callable[[], object], tuple[int, int]] = (lambda: None, (0, 0))

    def new_tensor(self) -> Array:
        """A tensor of the contract's layout and type."""
        height, width, channels = self._contract.height, self._contract.width, len(self._tables)
        shape = (1, channels, height, width) if self._contract.layout == "nchw" else (1, height, width, channels)
        return np.zeros(shape, self._contract.dtype)

    def decode(self, data: bytes | Array) -> Picture:
        """A picture from its bytes, or the array checked. A JPEG is decoded smaller where the contract says so."""
        if isinstance(data, np.ndarray):
            return check_picture(data)
        factor = self._contract.jpeg_reduce
        picture = read_picture(data, factor)
        if factor > 1 and is_jpeg(data):
            header = read_header(data)
            # The picture alone does not tell, and `write` must know; it is only this one, not others of its size.
            self._reduced = weakref.ref(picture), (header.height, header.width)
        return picture

    def geometry(self, array: Array) -> Picture:
        """The picture at the contract's size."""
        latest, size = self._reduced
        if latest() is array:
            return self._geometry.fit(array, size, self._contract.jpeg_reduce)
        return self._geometry.fit(array)

    def normalise(self, fitted: Array, out: Array) -> None:
        """Colour order, (value - mean) / std, layout. Whole numbers take the grey levels as they are."""
        if self._contract.layout == "nhwc" and len(self._tables) > 1:
            self._normalise_pixels(fitted, out[0])
            return
        for channel, plane in enumerate(self._split(fitted)):
            target = out[0, channel] if self._contract.layout == "nchw" else out[0, :, :, channel]
            if self._is_whole:
                target[...] = plane
            else:
                cv2.LUT(plane, self._tables[channel], target)

    def write(self, array: Array, out: Array) -> Placement:
        """Geometry and normalisation in one."""
        self.normalise(self.geometry(array), out)
        return self._geometry.placement

    def _split(self, fitted: Picture) -> list[Picture]:
        if fitted.ndim == GREY:
            return [fitted] * len(self._tables)
        cv2.split(fitted, self._planes)
        return self._planes[::-1] if self._contract.colour == "rgb" else self._planes

    def _normalise_pixels(self, fitted: Picture, target: Array) -> None:
        """Channels that lie side by side, in one step."""
        is_grey, is_rgb = fitted.ndim == GREY, self._contract.colour == "rgb"
        if is_grey or is_rgb:
            cv2.cvtColor(fitted, cv2.COLOR_GRAY2BGR if is_grey else cv2.COLOR_BGR2RGB, self._picture)
            fitted = self._picture
        if self._is_whole:
            target[...] = fitted
        else:
            cv2.LUT(fitted, self._table, target)


class WindowPreprocessor:
    """Windows: decode → features → (value - mean) / std."""

    def __init__(self, contract: WindowInput) -> None:
        self._contract = contract
        self.channel = contract.channel
        self.tensor_name = contract.tensor
        self._mean = np.array(contract.mean or 0.0)
        self._std = np.array(contract.std or 1.0)
        kit = Kit(contract)
        self.channels, self._windows = kit.channels, kit.axes
        self._features: Callable[[Window], Window] = {
            "log-power-spectrum": lambda window: log_power_spectrum(window, contract.bands),
            "raw": lambda window: window,
            "vibration": kit.vector,
        }[contract.features]

    def new_tensor(self) -> Array:
        """A tensor of one row of features."""
        raw = self._contract.features == "raw"
        row = (1, self._contract.length if raw else len(feature_names(self._contract)))
        return np.zeros(self._contract.shape or row, self._contract.dtype)

    def are_apart(self, there: Container[str]) -> bool:
        """Whether a sample with these channels has several of this contract's, each by itself."""
        return len(self.channels) > 1 and all(name in there for name in self.channels)

    def decode(self, data: bytes | Array | tuple[bytes | Array, ...]) -> Window:
        """A window from the bytes of a .npy file, or the array checked; rows of `channels` where there are several.

        These come as one array [channels, length], or in parts, one for each channel.
        """
        length = self._contract.length
        if isinstance(data, tuple):
            return gather_rows(data, self.channels, length, self._windows)
        if len(self.channels) > 1:
            return read_rows(data, self.channels, length)
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
            fill((fitted - self._mean) / self._std, out)

    def write(self, array: Array, out: Array) -> None:
        """Features and standardisation in one."""
        self.normalise(self.geometry(array), out)


class TensorPreprocessor:
    """Arrays: as they are, or (value - mean) / std along the last axis."""

    def __init__(self, contract: TensorInput) -> None:
        self._contract = contract
        self.channel = contract.channel
        self.tensor_name = contract.tensor
        self._mean, self._std = np.array(contract.mean), np.array(contract.std)

    def new_tensor(self) -> Array:
        """A tensor of the contract's shape and type."""
        return np.zeros(self._contract.shape, self._contract.dtype)

    def decode(self, data: bytes | Array) -> Array:
        """An array from the bytes of a .npy file, or the array checked; a batch of one may be left out."""
        shape = self._contract.shape
        return check_array(data, shape) if isinstance(data, np.ndarray) else read_array(data, shape)

    def geometry(self, array: Array) -> Array:
        """The array as it is: it has its shape already."""
        return array

    def normalise(self, fitted: Array, out: Array) -> None:
        """Standardise where the contract says so, in the contract's type.

        Raises:
            InferenceError: NOT_FINITE, or WRONG_SHAPE: a whole number is wanted.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            fill((fitted - self._mean) / self._std if self._mean.size else fitted, out)

    def write(self, array: Array, out: Array) -> None:
        """The same."""
        self.normalise(array, out)


def fill(values: Array, out: Array) -> None:
    """Write values into a tensor of their number, in its type and shape.

    Raises:
        InferenceError: NOT_FINITE when its type cannot hold them, WRONG_SHAPE when it is of whole numbers and they
            are not.
    """
    flat, target = values.reshape(-1), out.reshape(-1)
    if out.dtype.kind == "f":
        target[...] = flat
        if not np.isfinite(target).all():
            message = "values that are not finite"
            raise InferenceError(message, "look at the sensor's range", Reason.NOT_FINITE)
        return
    limits = np.iinfo(out.dtype)
    if values.dtype.kind == "f" and not (flat == np.rint(flat)).all():
        message = f"values that are no whole numbers, for a tensor of {out.dtype}"
        raise InferenceError(
            message, "let the source deliver whole numbers, or export the graph for floats", Reason.WRONG_SHAPE
        )
    if flat.size and not (limits.min <= flat.min() and flat.max() <= limits.max):
        message = f"values beyond what {out.dtype} holds"
        raise InferenceError(message, "look at the sensor's range", Reason.NOT_FINITE)
    target[...] = flat


def _make_tables(contract: ImageInput) -> list[Array]:
    """Per channel the 256 values a grey level can become: rounded once, the same on every machine."""
    levels = np.arange(256, dtype=np.float64)
    kind = contract.dtype if contract.dtype in _REAL else "float32"
    return [((levels - m) / s).astype(kind) for m, s in zip(contract.mean, contract.std, strict=True)]


_PREPROCESSORS: dict[type, Callable[[Any], Preprocessor]] = {
    ImageInput: ImagePreprocessor,
    WindowInput: WindowPreprocessor,
    TensorInput: TensorPreprocessor,
}
