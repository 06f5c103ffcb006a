"""Encoded pictures come in, uint8 arrays go out: BGR [h, w, 3] from colour, [h, w] from grey.

The header is read before anything is decoded, so a hostile one costs no memory. Never guesses: sixteen bits, alpha,
CMYK and more than one frame are refused; the orientation tag is ignored, for the sensor's pixels are what was taught.
"""

import struct
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.errors import InferenceError
from edge_protocol.codes import Reason

MAX_ENCODED_BYTES = 64 * 1024 * 1024
MAX_BITS = 8
MAX_PIXELS = 40_000_000
"""About the largest industrial sensors; decoded, such a picture takes 120 MB."""

MAX_PROGRESSIVE_PIXELS = 12_000_000
"""A progressive JPEG is decoded whole before there is a pixel of it: six bytes more for each."""

MAX_SCANS = 30
"""Passes over a JPEG: encoders make up to about ten, each costs as much time as a picture."""

MAX_CHUNKS = 1000
"""Of a PNG before its pixels."""

# The second thread of OpenCV fights the model for a core: one here, and the pipeline's own two threads are in charge.
cv2.setNumThreads(1)
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)

GREY, COLOUR = 2, 3
"""Dimensions of a picture's array: [h, w] or [h, w, 3]."""

_FLAGS = {
    (False, 1): cv2.IMREAD_COLOR,
    (False, 2): cv2.IMREAD_REDUCED_COLOR_2,
    (False, 4): cv2.IMREAD_REDUCED_COLOR_4,
    (False, 8): cv2.IMREAD_REDUCED_COLOR_8,
    (True, 1): cv2.IMREAD_GRAYSCALE,
    (True, 2): cv2.IMREAD_REDUCED_GRAYSCALE_2,
    (True, 4): cv2.IMREAD_REDUCED_GRAYSCALE_4,
    (True, 8): cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
_CHANNELS = 3
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER_BYTES = 13
_CHUNK = struct.Struct(">I4s")
_CRC_BYTES = 4
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_JPEG = b"\xff\xd8\xff"
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_SCAN = b"\xff\xda"
_MARK = 0xFF
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD8)})


class UnreadablePicture(InferenceError):
    """Bytes that are no picture, or a damaged one."""

    def __init__(self, problem: str, cure: str = "let the source deliver it whole, as PNG or JPEG") -> None:
        super().__init__(problem, cure, Reason.UNREADABLE)


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture says of itself before it is decoded."""

    width: int
    height: int
    channels: int
    bits: int
    progressive: bool = False
    animated: bool = False


def is_jpeg(data: bytes) -> bool:
    """Whether the bytes begin as a JPEG does."""
    return data.startswith(_JPEG)


def read_picture(data: bytes, reduce: int = 1) -> npt.NDArray[np.uint8]:
    """Decode a PNG or JPEG; a JPEG may be decoded `reduce` times smaller, its sides rounded up.

    Raises:
        InferenceError: UNREADABLE when it is none, or damaged; WRONG_SHAPE when it is of a kind that is not judged.
    """
    if len(data) > MAX_ENCODED_BYTES:
        problem = f"a picture of {len(data)} bytes, at most {MAX_ENCODED_BYTES} are taken"
        raise UnreadablePicture(problem, "let the source compress it, or cut it to the part")
    header = read_header(data)
    _check_kind(header)
    if is_jpeg(data) and data.count(_SCAN) > MAX_SCANS:
        problem = f"a JPEG of more than {MAX_SCANS} passes"
        raise UnreadablePicture(problem, "let the source save a baseline JPEG")
    reduce = reduce if is_jpeg(data) else 1
    flag = _FLAGS[header.channels == 1, reduce]
    try:
        picture: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        problem = "the picture cannot be decoded"
        raise UnreadablePicture(problem) from error
    if picture is None or picture.shape[:2] != (-(-header.height // reduce), -(-header.width // reduce)):
        problem = "the picture is truncated or damaged"
        raise UnreadablePicture(problem)
    return picture  # type: ignore[no-any-return]


def read_header(data: bytes) -> Header:
    """Size, channels and depth as the first bytes state them.

    Raises:
        InferenceError: UNREADABLE: neither PNG nor JPEG, or cut off before the size is told.
    """
    try:
        if data.startswith(_PNG):
            return _read_png(data)
        if data.startswith(_JPEG):
            return _read_jpeg(data)
    except (struct.error, IndexError) as error:
        problem = "the picture ends within its header"
        raise UnreadablePicture(problem) from error
    problem = "neither a PNG nor a JPEG"
    raise UnreadablePicture(problem)


def check_picture(picture: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The array itself, if it is a picture that can be judged.

    Raises:
        InferenceError: WRONG_SHAPE.
    """
    is_picture = picture.ndim == GREY or (picture.ndim == COLOUR and picture.shape[2] == _CHANNELS)
    if picture.dtype != np.uint8 or not is_picture or not 0 < picture.size <= _CHANNELS * MAX_PIXELS:
        message = f"an array {picture.dtype}{list(picture.shape)}"
        hint = f"a picture is uint8 [h, w] or [h, w, 3] in BGR with at most {MAX_PIXELS} pixels"
        raise InferenceError(message, hint, Reason.WRONG_SHAPE)
    return picture


def _read_png(data: bytes) -> Header:
    length, kind, width, height, bits, colour = struct.unpack_from(">I4sIIBB", data, len(_PNG))
    if kind != b"IHDR" or length != _PNG_HEADER_BYTES or colour not in _PNG_CHANNELS:
        problem = "a PNG without a valid header"
        raise UnreadablePicture(problem)
    return Header(width, height, _PNG_CHANNELS[colour], bits, animated=_is_animated(data))


def _is_animated(data: bytes) -> bool:
    at = len(_PNG)
    for _ in range(MAX_CHUNKS):
        if len(data) - at < _CHUNK.size:
            return False  # It ends before its pixels: the decoder says so.
        length, kind = _CHUNK.unpack_from(data, at)
        if kind in (b"IDAT", b"acTL"):
            return bool(kind == b"acTL")
        at += length + _CHUNK.size + _CRC_BYTES
    problem = f"a PNG with more than {MAX_CHUNKS} chunks before its pixels"
    raise UnreadablePicture(problem, "let the source save it without notes")


def _read_jpeg(data: bytes) -> Header:
    at = 2
    while True:
        if data[at] != _MARK:
            problem = "a JPEG with a broken chain of segments"
            raise UnreadablePicture(problem)
        marker = data[at + 1]
        if marker == _MARK:
            at += 1
        elif marker in _JPEG_BARE:
            at += 2
        elif marker in _JPEG_FRAMES:
            bits, height, width, channels = struct.unpack_from(">BHHB", data, at + 4)
            return Header(width, height, channels, bits, progressive=marker in _JPEG_PROGRESSIVE)
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]


def _check_kind(header: Header) -> None:
    if not 0 < header.width * header.height <= MAX_PIXELS:
        problem = f"{header.width} × {header.height} pixels, 1 to {MAX_PIXELS} are taken"
        cure = "let the source cut it to the part, or deliver it smaller"
    elif header.bits > MAX_BITS:
        problem = f"{header.bits} bits a channel, {MAX_BITS} are taken"
        cure = "let the source deliver eight bits: which of sixteen count, only it knows"
    elif header.animated:
        problem = "more than one frame, of which nobody says which one is the part"
        cure = "let the source deliver each frame by itself"
    elif header.progressive and header.width * header.height > MAX_PROGRESSIVE_PIXELS:
        problem = (
            f"{header.width} × {header.height} pixels, in a progressive JPEG up to {MAX_PROGRESSIVE_PIXELS} are taken"
        )
        cure = "let the source save a baseline JPEG"
    elif header.channels not in (1, _CHANNELS):
        problem = f"{header.channels} channels, grey or three colours are taken (no alpha, no CMYK)"
        cure = "let the source deliver grey or RGB"
    else:
        return
    message = f"a picture of {problem}"
    raise InferenceError(message, cure, Reason.WRONG_SHAPE)
