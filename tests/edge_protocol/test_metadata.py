"""A metadata set comes back as it was packed, from the same bytes each time, and strangers' bytes do no harm."""

import hashlib
import random
import tracemalloc

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from edge_protocol import metadata
from edge_protocol.errors import DecodeError
from edge_protocol.messages import MAX_MESSAGE_BYTES, Link, encode
from edge_protocol.metadata import DIRECTOR, MAX_FILES, MAX_SET_BYTES, MODELS, Carried, carried, carry, mark, pack

FILES = {"1.root.json": b"{}", "timestamp.json": b'{"a": 1}', "12.pub-acme.json": b"\x00"}

names = st.from_regex(r"\A(?:[0-9]{1,9}\.)?[a-z0-9][a-z0-9._-]{0,20}\.json\Z")


def _squeeze(content):
    return zstandard.compress(msgspec.msgpack.encode(content))


@given(st.dictionaries(names, st.binary(max_size=200), max_size=20))
def test_a_set_comes_back_as_it_was_packed(files):
    """Unpacking undoes packing, and the order in which files were added makes no other bytes."""
    body = pack(files)

    assert metadata.unpack(body) == files
    assert pack(dict(reversed(files.items()))) == body


@given(st.binary(max_size=300))
def test_bytes_of_strangers_are_a_set_or_a_decode_error(body):
    """Whatever comes, raw or as the content of a frame, nothing but a DecodeError leads out."""
    for attempt in (body, zstandard.compress(body)):
        try:
            metadata.unpack(attempt)
        except DecodeError:
            continue


def test_damaged_sets_are_a_set_or_a_decode_error():
    """Of thousands of truncated and bit-flipped sets none leads to another error than DecodeError."""
    rng = random.Random(20_26)  # noqa: S311 (seeded: a failure is found again)
    packed = pack(FILES)
    refused = 0
    for _ in range(3000):
        raw = bytearray(packed)
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        cut = bytes(raw[: rng.randint(0, len(raw))] if rng.random() < 0.3 else raw)
        try:
            metadata.unpack(cut)
        except DecodeError:
            refused += 1

    assert refused > 1000


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"no frame", id="no frame"),
        pytest.param(zstandard.compress(b""), id="an empty frame"),
        pytest.param(pack(FILES) + b"more", id="bytes after the frame"),
        pytest.param(pack(FILES) + pack(FILES), id="two frames"),
        pytest.param(_squeeze([b"a"]), id="a list"),
        pytest.param(_squeeze({"timestamp.json": "text"}), id="text instead of bytes"),
        pytest.param(_squeeze({b"timestamp.json": b""}), id="bytes as a name"),
        pytest.param(_squeeze({"../timestamp.json": b""}), id="a path that leaves"),
        pytest.param(_squeeze({"a/b.json": b""}), id="a folder"),
        pytest.param(_squeeze({"Root.json": b""}), id="capitals"),
        pytest.param(_squeeze({"x.json\n": b""}), id="a line break"),
        pytest.param(_squeeze({"1.root.txt": b""}), id="another ending"),
        pytest.param(_squeeze({"1" * 10 + ".root.json\0": b""}), id="a zero"),
        pytest.param(_squeeze({f"{n}.root.json": b"" for n in range(MAX_FILES + 1)}), id="too many files"),
        pytest.param(zstandard.compress(b"\x91" * 100_000), id="deep nesting"),
        pytest.param(zstandard.compress(b"\xdf\xff\xff\xff\xff"), id="a lying count"),
        pytest.param(zstandard.compress(bytes(MAX_SET_BYTES + 1)), id="above the limit"),
        pytest.param(zstandard.ZstdCompressor(write_content_size=False).compress(b"\x80"), id="no stated size"),
    ],
)
def test_what_is_no_set_is_refused(body):
    """Only a whole frame with a map from a repository's file names to bytes is a set."""
    with pytest.raises(DecodeError):
        metadata.unpack(body)


def test_a_million_tiny_files_are_refused_before_they_take_memory():
    """The announced count is looked at before anything is built."""
    n = 1_000_000
    raw = b"\xdf" + n.to_bytes(4) + b"".join(b"\xa4" + n.to_bytes(4) + b"\xc4\x00" for n in range(n))
    body = zstandard.compress(raw)

    tracemalloc.start()
    with pytest.raises(DecodeError, match="files"):
        metadata.unpack(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 2 * MAX_SET_BYTES


def test_a_small_set_is_carried_inline_and_a_large_one_by_digest():
    """What carries a set always fits a message; the digest leads to the very same bytes."""
    large = random.Random(1).randbytes(MAX_MESSAGE_BYTES)  # noqa: S311 (bytes that do not compress)

    inline, named = carry(pack(FILES)), carry(large)

    assert max(len(inline), len(named)) <= MAX_MESSAGE_BYTES
    assert metadata.unpack(carried(inline).body) == FILES
    assert carried(named) == Carried(sha256=hashlib.sha256(large).hexdigest(), length=len(large))


@pytest.mark.parametrize("size", range(MAX_MESSAGE_BYTES - 1100, MAX_MESSAGE_BYTES + 2, 29))
def test_no_size_of_a_set_makes_a_message_that_is_too_large(size):
    """There is no gap between what fits and what is named by digest."""
    assert len(carry(bytes(size))) <= MAX_MESSAGE_BYTES


@pytest.mark.parametrize(
    "message",
    [
        Carried(),
        Carried(body=b"set", sha256="ab" * 32, length=3),
        Carried(sha256="ab" * 32),
        Carried(sha256="AB" * 32, length=3),
        Carried(sha256="ab" * 32, length=MAX_SET_BYTES + 1),
        Link(online=True),
    ],
)
def test_a_carrier_holds_either_a_set_or_its_digest(message):
    """Neither, both, or a digest of nothing is no metadata message."""
    with pytest.raises(DecodeError):
        carried(encode(message))


def test_no_mark_fits_two_repositories():
    """A part of one repository never passes for one of another, nor of another gateway's director."""
    roles = ("root", "timestamp", "snapshot", "targets")
    places = [(MODELS, ""), (DIRECTOR, "press-1"), (DIRECTOR, "press-2")]

    marks = {role: [mark(repository, role, gateway) for repository, gateway in places] for role in roles}

    assert marks["root"] == ["models", "director", "director"]
    assert all(len(set(marks[role])) == len(places) for role in roles[1:])
