"""Messages and records: they come back as they went, their bytes never change, and strangers' bytes do no harm."""

import random
from pathlib import Path

import msgspec
import pytest

from edge_protocol import messages
from edge_protocol.codes import ClockState
from edge_protocol.errors import DecodeError
from edge_protocol.messages import GatewayState, Link, Receipt, StreamAccount, Unknown
from tests.edge_protocol.samples import MESSAGES, RECORDS

GOLDEN = Path(__file__).parent / "golden"
ALL = {**MESSAGES, **RECORDS}


def _decode(name: str, raw: bytes):
    return messages.decode_record(raw) if name in RECORDS else messages.decode(type(MESSAGES[name]), raw)


@pytest.mark.parametrize("name", ALL)
def test_messages_come_back_as_they_went(name):
    """Decoding undoes encoding, for every message and record with every field set."""
    assert _decode(name, messages.encode(ALL[name])) == ALL[name]


@pytest.mark.parametrize("name", ALL)
def test_the_bytes_on_the_wire_are_the_golden_ones(name):
    """The bytes of a message never change: gateways of other versions are out there."""
    golden = bytes.fromhex((GOLDEN / f"{name}.hex").read_text())

    assert messages.encode(ALL[name]) == golden
    assert _decode(name, golden) == ALL[name]


def test_every_kind_of_record_has_a_sample():
    """No kind escapes the golden bytes, and each sample sets every field to other than its default."""
    assert set(RECORDS) == set(messages.KINDS)
    for sample in ALL.values():
        fields = [field for field in msgspec.structs.fields(sample) if field.name != "schema"]
        assert [field.name for field in fields if getattr(sample, field.name) == field.default] == []


@pytest.mark.parametrize("name", ALL)
def test_unknown_fields_are_skipped(name):
    """A later version may add fields: an older reader takes the rest."""
    fields = msgspec.msgpack.decode(messages.encode(ALL[name]))

    later = msgspec.msgpack.encode({**fields, "x-later": [1, {"deep": None}], "added": b"\xff"})

    assert _decode(name, later) == ALL[name]


def test_what_an_older_gateway_says_is_understood():
    """A state of the first version lacks the fields that came later: they have their defaults."""
    first = bytes.fromhex((GOLDEN / "state-0.1.hex").read_text())

    state = messages.decode(GatewayState, first)

    assert (state.gateway, state.arch, state.pipelines[0].wanted) == ("press-1", "", "")


def test_unknown_kinds_are_kept_as_they_came():
    """A record of a kind that is not known here is kept with its bytes, not refused."""
    raw = msgspec.msgpack.encode({"kind": "weather", "degrees": 21, "sky": ["blue"]})

    assert messages.decode_record(raw) == Unknown(kind="weather", raw=raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xc0",
        b"\x80",
        b"\xff" * 20,
        b"\x91" * 100_000,
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc7\x0c\xff" + b"\xff" * 12,
        msgspec.msgpack.encode({"kind": 3}),
        msgspec.msgpack.encode({"kind": "No Name"}),
        msgspec.msgpack.encode({"kind": "a\0b"}),
        msgspec.msgpack.encode({"kind": "gap", "epoch": "seven"}),
        msgspec.msgpack.encode({"kind": ["gap"]}),
        b"\x81\x80\x01",
    ],
)
def test_what_is_no_record_is_a_decode_error(raw):
    """Neither nesting, nor lying lengths, nor odd keys lead to anything but a DecodeError."""
    with pytest.raises(DecodeError):
        messages.decode_record(raw)
    with pytest.raises(DecodeError):
        messages.decode(Receipt, raw)


def test_mutated_messages_are_taken_or_refused():
    """Of thousands of truncated and bit-flipped messages none leads to another error than DecodeError."""
    rng = random.Random(20_26)  # noqa: S311 (seeded: a failure is found again)
    outcomes = {True: 0, False: 0}
    for _ in range(6000):
        name = rng.choice(list(ALL))
        raw = bytearray(messages.encode(ALL[name]))
        for _ in range(rng.randint(1, 3)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        cut = bytes(raw[: rng.randint(0, len(raw))] if rng.random() < 0.3 else raw)
        try:
            _decode(name, cut)
        except DecodeError:
            outcomes[False] += 1
        else:
            outcomes[True] += 1

    assert min(outcomes.values()) > 300


def test_oversized_messages_are_refused_before_they_are_parsed():
    """A message above the limit is refused for its size."""
    with pytest.raises(DecodeError, match="limit"):
        messages.decode(Link, bytes(messages.MAX_MESSAGE_BYTES + 1))


def test_a_later_schema_is_refused_by_number():
    """A message of a later major says so; one without a schema is of the first."""
    later = msgspec.msgpack.encode({"schema": 2, "online": True})
    first = msgspec.msgpack.encode({"online": True})

    with pytest.raises(DecodeError, match="schema 2"):
        messages.decode(Link, later)
    assert messages.decode(Link, first).schema == 1


def test_an_unknown_clock_state_is_not_trusted():
    """A clock state from a later version counts as behind: the message is taken, its wall time not trusted."""
    fields = msgspec.msgpack.decode(messages.encode(MESSAGES["state"]))
    fields["time"]["clock"] = "atomic"

    assert messages.decode(GatewayState, msgspec.msgpack.encode(fields)).time.clock is ClockState.BEHIND


@pytest.mark.parametrize(
    "change",
    [
        {"sent_us": -1},
        {"sent_us": 2**62 + 1},
        {"gateway": "press\0"},
        {"gateway": "Press 1"},
        {"agent_version": "1\0"},
        {"streams": [{"epoch": 1, "stream": "verdicts", "produced": -5}]},
        {"streams": [{"epoch": 1, "stream": "Verdicts!", "produced": 5}]},
        {"streams": [{"epoch": 1, "stream": "verdicts", "produced": 5, "held": [[5, 1]]}]},
        {"streams": [{"epoch": 1, "stream": "verdicts", "produced": 5, "held": [[1, 3], [4, 5]]}]},
        {"streams": [{"epoch": 1, "stream": "verdicts", "produced": 5, "held": [[0, 3]]}]},
        {"streams": [{"epoch": 1, "stream": "verdicts", "produced": 5, "declared": [[1, 2**64 - 1]]}]},
        {"pipelines": [{"name": "a", "p50_ms": float("nan")}]},
        {"pipelines": [{"name": "a", "verdicts": {"OK": -1}}]},
    ],
)
def test_numbers_and_texts_out_of_bounds_are_refused(change):
    """What a database or an account could not hold is refused at the border."""
    fields = msgspec.msgpack.decode(messages.encode(MESSAGES["state"]))

    with pytest.raises(DecodeError):
        messages.decode(GatewayState, msgspec.msgpack.encode({**fields, **change}))


def test_ranges_that_are_not_normal_are_refused_where_they_are_made():
    """The maker of an account or a receipt learns at once that its ranges are no set."""
    with pytest.raises(ValueError, match="held"):
        StreamAccount(1, "verdicts", 5, held=((3, 4), (1, 2)))
    with pytest.raises(ValueError, match="committed"):
        Receipt(gateway="press-1", epoch=1, stream="verdicts", committed=((0, 4),))
