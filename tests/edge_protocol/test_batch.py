"""Batches: rows come back as they went, the same rows make the same bytes, and strangers' bytes do no harm."""

import math
import random
import struct
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from edge_protocol import batch as batches
from edge_protocol.batch import MAX_ROWS, MAX_TEXT_BYTES, Batch, Context, RecordRow, VerdictRow
from edge_protocol.errors import DecodeError
from tests.edge_protocol.samples import BATCHES, TIME

GOLDEN = Path(__file__).parent / "golden"
NUMBERS = st.integers(0, 2**62)
TEXTS = st.just("") | st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)
FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)


@st.composite
def verdict_batches(draw):
    """Any batch of verdicts that the encoder takes."""
    contexts = draw(st.lists(st.builds(Context, pipeline=TEXTS, bundle=TEXTS), min_size=1, max_size=3).map(tuple))
    rows = st.builds(
        VerdictRow,
        seq=st.just(0),
        at_us=NUMBERS,
        trigger=NUMBERS,
        context=st.integers(0, len(contexts) - 1),
        verdict=st.integers(0, 255),
        reason=st.integers(0, 65535),
        score=st.none() | FLOATS,
        latency_us=st.integers(0, 65535).map(lambda steps: steps * batches.LATENCY_UNIT_US),
        part=TEXTS,
        product=TEXTS,
        lot=TEXTS,
    )
    first = draw(st.integers(1, 2**61))
    verdicts = draw(st.lists(rows, min_size=1, max_size=12))
    numbered = tuple(msgspec.structs.replace(row, seq=first + n) for n, row in enumerate(verdicts))
    return Batch(gateway="g", epoch=draw(NUMBERS), stream="verdicts", time=TIME, contexts=contexts, verdicts=numbered)


@st.composite
def record_batches(draw):
    """Any batch of records that the encoder takes."""
    first = draw(st.integers(1, 2**61))
    bodies = draw(st.lists(st.tuples(NUMBERS, st.binary(max_size=30)), min_size=1, max_size=12))
    records = tuple(RecordRow(first + n, at_us, body) for n, (at_us, body) in enumerate(bodies))
    stream = draw(st.sampled_from(["events", "metrics", "not-known-yet"]))
    return Batch(gateway="g", epoch=draw(NUMBERS), stream=stream, time=TIME, records=records)


@given(verdict_batches() | record_batches())
def test_batches_come_back_as_they_went(batch):
    """Decoding undoes encoding, and encoding what was decoded makes the same bytes."""
    body = batches.encode(batch)

    found = batches.decode(body)

    assert found == batch
    assert batches.encode(found) == body


@pytest.mark.parametrize("name", BATCHES)
def test_the_bytes_under_the_compression_are_the_golden_ones(name):
    """The body's bytes never change; the compression around them may, with its library."""
    golden = bytes.fromhex((GOLDEN / f"batch-{name}.hex").read_text())

    assert zstandard.ZstdDecompressor().decompress(batches.encode(BATCHES[name])) == golden
    assert batches.decode(zstandard.ZstdCompressor().compress(golden)) == BATCHES[name]


def _day(rows: int) -> Batch:
    """Verdicts as a gateway makes them: parts at 20 a second and windows at 10, with jitter, nearly all good."""
    rng = random.Random(7)  # noqa: S311 (seeded: the size law is about these rows)
    due = [(50_000 * n, 0) for n in range(rows)] + [(100_000 * n + 20_000, 1) for n in range(rows)]
    verdicts = []
    for n, (due_us, context) in enumerate(sorted(due)[:rows]):
        at_us = 1_767_225_600_000_000 + due_us + rng.randint(-1000, 1000)
        is_bad = rng.random() < 0.02
        score, latency_us, part = rng.gauss(1.0, 0.2), rng.randint(9000, 14_000), f"P-{500_000 + due_us // 50_000}"
        row = (10_000 + n, at_us, 70_000 + n, context, int(is_bad), int(is_bad), score, latency_us, part)
        verdicts.append(VerdictRow(*row))
    contexts = (
        Context("surface", "surface-anomaly", "1.0.0", rng.randbytes(32), "u8s8-vnni"),
        Context("engine", "engine-fault", "1.0.0", rng.randbytes(32), "fp32"),
    )
    return Batch(
        gateway="press-1", epoch=1, stream="verdicts", time=msgspec.structs.replace(TIME, boot=rng.randbytes(18).hex()),
        config=rng.randbytes(32), contexts=contexts, verdicts=tuple(verdicts),
    )  # fmt: skip


def test_a_verdict_costs_at_most_twelve_bytes():
    """A hundred verdicts of two pipelines with part numbers take at most 12 bytes each, all of the message counted."""
    envelope_bytes = 100

    size = len(batches.encode(_day(100))) + envelope_bytes

    assert size / 100 <= 12


def test_the_encoder_works_around_odd_lines():
    """Scores beyond float32, negative or endless latencies and odd texts must not hold up a verdict."""
    odd = VerdictRow(1, 0, 0, 0, 1, 1, 1e300, 10**12, "A\0B\0", "é" * 500, "\ud800")
    odder = VerdictRow(2, 0, 0, 0, 1, 1, -math.inf, -5)

    first, second = batches.decode(batches.encode(_of(odd, odder))).verdicts

    assert (first.score, first.latency_us) == (pytest.approx(3.4e38, rel=0.01), 65535 * batches.LATENCY_UNIT_US)
    assert (first.part, first.product, first.lot) == ("AB", "é" * (MAX_TEXT_BYTES // 2), "?")
    assert (second.score, second.latency_us) == (pytest.approx(-3.4e38, rel=0.01), 0)


def _of(*rows: VerdictRow, **changes) -> Batch:
    fields = {"gateway": "g", "epoch": 1, "stream": "verdicts", "contexts": (Context("p"),)}
    return Batch(**{**fields, "time": TIME, "verdicts": rows, **changes})


ROW = VerdictRow(1, 0, 0, 0, 0, 0, None, 0)


@pytest.mark.parametrize(
    "batch",
    [
        _of(),
        _of(ROW, ROW),
        _of(ROW, stream="events"),
        _of(ROW, records=(RecordRow(1, 0, b""),)),
        _of(ROW, contexts=()),
        _of(ROW, contexts=(Context("p"),) * 257),
        _of(msgspec.structs.replace(ROW, seq=0)),
        _of(msgspec.structs.replace(ROW, at_us=-1)),
        _of(msgspec.structs.replace(ROW, trigger=2**63)),
        _of(msgspec.structs.replace(ROW, context=-1)),
        _of(msgspec.structs.replace(ROW, verdict=256)),
        _of(msgspec.structs.replace(ROW, reason=65536)),
        _of(*(msgspec.structs.replace(ROW, seq=n + 1) for n in range(MAX_ROWS + 1))),
        _of(stream="events", records=(RecordRow(1, 0, bytes(batches.MAX_BODY_BYTES)),)),
    ],
)
def test_the_encoder_refuses_what_would_not_come_back(batch):
    """No batch leaves that the other side would refuse or read otherwise."""
    with pytest.raises(ValueError, match=r"\w"):
        batches.encode(batch)


TIME_NAMES = ("boot", "run", "wall_us", "mono_us", "clock")
COLUMN_NAMES = ("dt", "trigger", "context", "verdict", "reason", "score", "latency", "later")
TEXT_NAMES = ("part", "product", "lot", "later")


def _wire(**changes) -> bytes:
    """The bytes of a small batch of verdicts with some of its places changed, `later` being one behind the last."""
    places = ["schema", "gateway", "epoch", "stream", "time", "config", "first", "count", "at_us", "trigger"]
    places += ["contexts", "columns", "texts", "records"]
    values = dict(zip(places, msgspec.msgpack.decode(_raw()), strict=True))
    for place, names in (("time", TIME_NAMES), ("columns", COLUMN_NAMES), ("texts", TEXT_NAMES)):
        named = dict(zip(names, values[place], strict=False)) | changes.pop(place, {})
        values[place] = [named[name] for name in names if name in named]
    values |= changes
    return zstandard.ZstdCompressor().compress(msgspec.msgpack.encode(list(values.values())))


def _raw() -> bytes:
    return zstandard.ZstdDecompressor().decompress(batches.encode(BATCHES["verdicts"]))


def _planes(kind: str, *values: float) -> bytes:
    raw, width = struct.pack(f"<{len(values)}{kind}", *values), struct.calcsize(kind)
    return b"".join(raw[plane::width] for plane in range(width))


HOSTILE = {
    "nothing": b"",
    "no frame": b"hello",
    "frame of nothing": zstandard.ZstdCompressor().compress(b""),
    "frame of noise": zstandard.ZstdCompressor().compress(bytes(range(256))),
    "two frames": zstandard.ZstdCompressor().compress(_raw()) + zstandard.ZstdCompressor().compress(b"more"),
    "bytes after the frame": zstandard.ZstdCompressor().compress(_raw()) + b"more",
    "a frame that hides its size": zstandard.ZstdCompressor(write_content_size=False).compress(_raw()),
    "a bomb": zstandard.ZstdCompressor().compress(bytes(64 * 1024 * 1024)),
    "nesting": zstandard.ZstdCompressor().compress(b"\x91" * 1_000_000),
    "a later schema": _wire(schema=2),
    "a gateway that is none": _wire(gateway="Press 1"),
    "a stream that is none": _wire(stream="verdicts\0"),
    "an endless epoch": _wire(epoch=2**64 - 1),
    "a negative epoch": _wire(epoch=-1),
    "no rows": _wire(count=0),
    "negative rows": _wire(count=-3),
    "more rows than columns": _wire(count=4),
    "rows beyond the limit": _wire(count=MAX_ROWS + 1),
    "sequence from zero": _wire(first=0),
    "sequence beyond": _wire(first=2**64 - 1),
    "a huge trigger": _wire(trigger=2**64 - 1),
    "a huge time": _wire(at_us=2**63),
    "a negative time": _wire(at_us=-1),
    "steps before 1970": _wire(columns={"dt": _planes("q", 0, -(2**61), 0)}),
    "steps that overflow": _wire(columns={"dt": _planes("q", 2**62, 2**62, 2**62)}),
    "triggers below zero": _wire(columns={"trigger": _planes("i", -1000, 0, 0)}),
    "a missing column": _wire(columns={"score": b""}),
    "a column of half a value": _wire(columns={"score": bytes(11)}),
    "a context that is not there": _wire(columns={"context": bytes([0, 1, 2])}),
    "no contexts": _wire(contexts=[]),
    "too many contexts": _wire(contexts=[["p"]] * 257),
    "a digest that is none": _wire(contexts=[["p", "", "", bytes(33)]]),
    "a mask that is too short": _wire(texts={"part": (b"", b"abcde")}),
    "texts without rows": _wire(texts={"part": (b"\x00", b"abc")}),
    "columns of text": _wire(columns={"dt": "text"}),
    "records of text": _wire(records=["text"]),
    "too many records": _wire(stream="events", records=[b""] * (MAX_ROWS + 1)),
    "fewer records than rows": _wire(stream="events", records=[b""]),
    "a run that is none": _wire(time={"run": -1}),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_hostile_bodies_are_decode_errors(body):
    """Lying lengths, huge numbers, overflowing sums, nesting and bombs all end in a DecodeError."""
    with pytest.raises(DecodeError):
        batches.decode(body)


def test_numbers_and_texts_of_later_versions_are_kept():
    """Unknown verdicts, reasons, columns and texts are no reason to refuse a batch; what is no number is no score."""
    body = _wire(
        columns={
            "verdict": bytes([7, 8, 255]),
            "reason": _planes("H", 999, 0, 65535),
            "score": _planes("f", math.inf, -math.inf, math.nan),
            "later": b"a temperature",
        },
        texts={"part": (b"", b"a\xffb\0cc" + b"\0\0\0"), "later": (b"", b"a carrier")},
    )

    rows = batches.decode(body).verdicts

    assert [row.verdict for row in rows] == [7, 255, 8]
    assert [row.reason for row in rows] == [999, 65535, 0]
    assert [row.score for row in rows] == [None] * 3
    assert all("\0" not in row.part for row in rows)


def test_mutated_bodies_are_taken_or_refused():
    """Of thousands of truncated and bit-flipped bodies, above and below the compression, none does other harm."""
    rng = random.Random(4711)  # noqa: S311 (seeded: a failure is found again)
    compress = zstandard.ZstdCompressor().compress
    sources = [batches.encode(batch) for batch in (*BATCHES.values(), _day(30))]
    outcomes = {True: 0, False: 0}
    for n in range(5000):
        body = rng.choice(sources)
        raw = bytearray(zstandard.ZstdDecompressor().decompress(body) if n % 2 else body)
        for _ in range(rng.randint(1, 3)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        cut = bytes(raw[: rng.randint(0, len(raw))] if rng.random() < 0.2 else raw)
        try:
            batches.decode(compress(cut) if n % 2 else cut)
        except DecodeError:
            outcomes[False] += 1
        else:
            outcomes[True] += 1

    assert min(outcomes.values()) > 300
