import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest

from edge_agent.errors import InferenceError
from edge_agent.inference import picture
from edge_agent.inference.picture import check_picture, read_header, read_picture
from edge_protocol.codes import Reason
from tests.edge_agent.inference.small_bundles import jpeg, png

RNG = np.random.default_rng(1)
COLOUR = RNG.integers(0, 256, (40, 50, 3), np.uint8)
GREY = COLOUR[..., 0]


def png_header(width: int, height: int, bits: int = 8, colour: int = 2) -> bytes:
    """A PNG that ends after its header."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


def jpeg_frame(width: int, height: int, bits: int = 8, channels: int = 3) -> bytes:
    """A JPEG that ends after the header of its frame."""
    frame = struct.pack(">BHHB", bits, height, width, channels) + bytes(3 * channels)
    return b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0" + struct.pack(">H", 2 + len(frame)) + frame


BAD = {
    "nothing": (b"", Reason.UNREADABLE),
    "text": (b"not a picture at all", Reason.UNREADABLE),
    "truncated jpeg": (jpeg(COLOUR)[:-200], Reason.UNREADABLE),
    "jpeg without its end": (jpeg(COLOUR)[:-2], Reason.UNREADABLE),
    "jpeg of two bytes": (b"\xff\xd8\xff", Reason.UNREADABLE),
    "jpeg with a broken chain": (b"\xff\xd8\xff\xe0\x00\x04ab" + bytes(30), Reason.UNREADABLE),
    "jpeg of endless fill": (b"\xff\xd8" + b"\xff" * 100, Reason.UNREADABLE),
    "truncated png": (png(COLOUR)[:-200], Reason.UNREADABLE),
    "damaged png": (png(COLOUR)[:100] + b"\0" * 50 + png(COLOUR)[150:], Reason.UNREADABLE),
    "png without pixels": (png_header(10, 10), Reason.UNREADABLE),
    "png of an unknown kind": (png_header(10, 10, colour=5), Reason.UNREADABLE),
    "zero size png": (png_header(0, 10), Reason.WRONG_SHAPE),
    "zero size jpeg": (jpeg_frame(10, 0), Reason.WRONG_SHAPE),
    "huge png": (png_header(60_000, 60_000), Reason.WRONG_SHAPE),
    "huge jpeg": (jpeg_frame(65_535, 65_535), Reason.WRONG_SHAPE),
    "16 bits": (png(COLOUR.astype(np.uint16) * 257), Reason.WRONG_SHAPE),
    "12 bits": (jpeg_frame(10, 10, bits=12), Reason.WRONG_SHAPE),
    "alpha": (png(np.dstack([COLOUR, GREY])), Reason.WRONG_SHAPE),
    "grey with alpha": (png_header(10, 10, colour=4), Reason.WRONG_SHAPE),
    "cmyk": (jpeg_frame(10, 10, channels=4), Reason.WRONG_SHAPE),
    "gif": (b"GIF89a" + bytes(40), Reason.UNREADABLE),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_picture_is_refused_with_its_reason(name: str) -> None:
    """What is no picture, or one that cannot be judged, raises a typed error with the reason of the verdict."""
    data, reason = BAD[name]

    with pytest.raises(InferenceError) as caught:
        read_picture(data)

    assert caught.value.reason is reason
    assert caught.value.hint


@pytest.mark.parametrize("name", ["huge png", "huge jpeg"])
def test_a_header_that_promises_gigabytes_costs_no_memory(name: str) -> None:
    """The size is read and refused before anything of that size is allocated."""
    data, _reason = BAD[name]
    tracemalloc.start()

    with pytest.raises(InferenceError):
        read_picture(data)

    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_too_many_encoded_bytes_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture above the limit of encoded bytes is refused whatever it holds."""
    monkeypatch.setattr(picture, "MAX_ENCODED_BYTES", 100)

    with pytest.raises(InferenceError) as caught:
        read_picture(png(COLOUR))

    assert caught.value.reason is Reason.UNREADABLE


def test_a_png_is_read_as_it_was_written() -> None:
    """Colour comes out in BGR, grey with two dimensions, to the bit."""
    assert np.array_equal(read_picture(png(COLOUR)), COLOUR)
    assert np.array_equal(read_picture(png(GREY)), GREY)


def test_a_jpeg_has_the_channels_it_was_made_with() -> None:
    """A grey JPEG is a grey picture, a colour JPEG a colour picture."""
    assert read_picture(jpeg(COLOUR)).shape == (40, 50, 3)
    assert read_picture(jpeg(GREY)).shape == (40, 50)


def test_the_orientation_tag_is_ignored() -> None:
    """A camera that says it was turned delivers the pixels of its sensor all the same."""
    plain = jpeg(COLOUR)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = plain[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif + plain[2:]

    as_opencv_turns_it = cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR)

    assert as_opencv_turns_it.shape == (50, 40, 3)
    assert np.array_equal(read_picture(turned), read_picture(plain))


def test_the_header_says_what_the_picture_is() -> None:
    """Size, channels and depth come from the first bytes of either kind."""
    for data in (png(COLOUR), jpeg(COLOUR)):
        header = read_header(data)
        assert (header.width, header.height, header.channels, header.bits) == (50, 40, 3, 8)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4), np.uint16),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(16, np.uint8),
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
def test_an_array_that_is_no_picture_is_refused(array: np.ndarray) -> None:
    """Only uint8 [h, w] and [h, w, 3] are pictures."""
    with pytest.raises(InferenceError) as caught:
        check_picture(array)

    assert caught.value.reason is Reason.WRONG_SHAPE
