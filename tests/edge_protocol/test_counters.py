"""Counters are exact: they merge and subtract like the samples they count."""

import hashlib
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_protocol import counters
from edge_protocol.counters import Reference, SignalReference
from edge_protocol.errors import DecodeError, EdgesMismatch

EDGES = (-1.0, 0.0, 0.5, 2.0)
VALUES = st.lists(st.floats(width=32) | st.sampled_from(EDGES), max_size=40)


@given(VALUES)
def test_every_value_falls_in_its_bin(values):
    """Bins are left-closed, with one below, one above and one for what is not finite; each value counts once."""
    counts = counters.count(EDGES, values)

    expected = [0] * 6
    for value in values:
        expected[sum(value >= edge for edge in EDGES) if math.isfinite(value) else 5] += 1
    assert counts.tolist() == expected


@given(VALUES, VALUES)
def test_merging_is_counting_together(left, right):
    """The merge of two counters is the counter of all their values, in either order."""
    a, b = counters.count(EDGES, left), counters.count(EDGES, right)

    assert (counters.merge(a, b) == counters.count(EDGES, left + right)).all()
    assert counters.canonical(counters.merge(a, b)) == counters.canonical(counters.merge(b, a))


@given(VALUES, VALUES)
def test_subtracting_undoes_merging(left, right):
    """What was merged can be taken out again without a trace."""
    a, b = counters.count(EDGES, left), counters.count(EDGES, right)

    assert counters.canonical(counters.subtract(counters.merge(a, b), b)) == counters.canonical(a)


@given(VALUES)
def test_the_order_and_shape_of_samples_do_not_matter(values):
    """The same samples in any order and any split give the same canonical bytes."""
    whole = counters.canonical(counters.count(EDGES, values))
    pieces = counters.empty(EDGES)
    for value in reversed(values):
        pieces = counters.merge(pieces, counters.count(EDGES, [value]))

    assert counters.canonical(pieces) == whole
    assert counters.canonical(counters.from_canonical(whole)) == whole


def test_the_canonical_bytes_are_the_specifications():
    """Little-endian unsigned 64-bit, in the order of the bins."""
    assert counters.canonical(np.array([1, 256, 0])) == bytes.fromhex(
        "0100000000000000 0001000000000000 0000000000000000"
    )


def test_counts_of_other_bins_do_not_combine():
    """Counters on other edges are refused, and so is taking out what was not in."""
    three, four = counters.empty((0.0,)), counters.empty((0.0, 1.0))

    for combine in (counters.merge, counters.subtract):
        with pytest.raises(EdgesMismatch):
            combine(three, four)
    with pytest.raises(EdgesMismatch):
        counters.subtract(three, counters.count((0.0,), [1.0]))


def test_counts_never_run_over_in_silence():
    """A sum beyond int64 is an error, not a negative count."""
    most = np.array([2**63 - 1])

    with pytest.raises(OverflowError):
        counters.merge(most, np.array([1]))


@pytest.mark.parametrize("raw", [b"1234567", b"\xff" * 8])
def test_bytes_that_are_no_counts_are_refused(raw):
    """Half a count or one beyond int64 is a DecodeError."""
    with pytest.raises(DecodeError):
        counters.from_canonical(raw)


def test_a_reference_comes_back_with_its_digest():
    """The canonical bytes and the digest of a reference do not depend on who reads it."""
    reference = Reference(
        (counters.make_signal("luma", np.linspace(0, 1, 1000), bins=4), SignalReference("x", (0.1,), (1, 2, 3)))
    )

    found = counters.load_reference(reference.canonical())

    assert found == reference
    assert found.digest == hashlib.sha256(reference.canonical()).hexdigest() == reference.digest
    assert json.loads(reference.canonical())["signals"][1] == {"name": "x", "edges": [0.1], "counts": [1, 2, 3]}


def test_features_change_neither_digest_nor_what_an_older_reader_sees():
    """What is there for reasons is not counted on: panes of gateways that do not know it have the same reference."""
    plain = Reference((counters.make_signal("luma", np.linspace(0, 1, 1000), bins=4),))
    told = Reference(plain.signals, features=(counters.make_feature("order_1", np.linspace(0, 9, 500)),))

    found = counters.load_reference(told.canonical())

    assert found == told
    assert found.digest == plain.digest
    assert b"features" not in plain.canonical()
    older = {key: value for key, value in json.loads(told.canonical()).items() if key != "features"}
    assert counters.load_reference(json.dumps(older).encode()).digest == told.digest


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=200).filter(lambda values: min(values) < max(values)))
def test_a_feature_has_no_good_one_beyond_its_ends(values):
    """Below the first edge and above the last there is none of those that it was made of."""
    feature = counters.make_feature("x", values)

    assert (feature.counts[0], feature.counts[-2], sum(feature.counts)) == (0, 0, len(values))


@pytest.mark.parametrize("values", [[], [1.0, 1.0], [math.nan, 1.0]])
def test_a_feature_that_never_varies_is_refused(values):
    """Nothing stands out from it."""
    with pytest.raises(ValueError, match="fewer than two"):
        counters.make_feature("x", values)


@pytest.mark.parametrize(
    ("edges", "counts"),
    [
        ([], [0, 0]),
        ([1.0, 1.0], [0, 0, 0, 0]),
        ([2.0, 1.0], [0, 0, 0, 0]),
        ([0.0], [0, 0]),
        ([0.0], [0, 0, -1]),
        ([0.0], [0, 0, 2**64]),
        (list(range(1001)), [0] * 1003),
    ],
)
def test_a_reference_that_breaks_a_rule_is_refused(edges, counts):
    """Edges ascend, and each signal has two counts more than edges, none below zero or beyond bounds."""
    raw = json.dumps({"signals": [{"name": "x", "edges": edges, "counts": counts}]}).encode()

    with pytest.raises(DecodeError):
        counters.load_reference(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[" * 100_000,
        b'{"signals": [{"name": "x", "edges": [1e999], "counts": [0, 0, 0]}]}',
        b'{"signals": [], "schema": 2}',
        b'{"signals": [' + b",".join([b'{"name": "x", "edges": [0], "counts": [0, 0, 0]}'] * 2) + b"]}",
        b" " * (counters.MAX_REFERENCE_BYTES + 1),
    ],
)
def test_bytes_that_are_no_reference_are_refused(raw):
    """Nesting, size, a later schema or a signal named twice end in a DecodeError."""
    with pytest.raises(DecodeError):
        counters.load_reference(raw)


def test_edges_that_are_not_numbers_are_refused_where_they_are_made():
    """NaN compares to nothing and infinity bounds nothing."""
    for edge in (math.nan, math.inf):
        with pytest.raises(ValueError, match="finite"):
            SignalReference("x", (edge,), (0, 0, 0))


def test_a_made_signal_has_bins_of_equal_count():
    """On distinct values all bins but the last hold the same count; ties leave fewer bins, none of them empty."""
    even = counters.make_signal("x", np.arange(1600), bins=16)
    tied = counters.make_signal("x", [0.0] * 500 + [1.0] * 500 + [2.0], bins=16)

    assert even.counts == (100,) * 16 + (0,)
    assert 0 not in tied.counts[:-1]


@pytest.mark.parametrize("values", [[], [1.0] * 9, [math.nan] * 3])
def test_a_signal_without_spread_is_refused(values):
    """Fewer than two distinct values are nothing to monitor."""
    with pytest.raises(ValueError, match="distinct"):
        counters.make_signal("x", values)
