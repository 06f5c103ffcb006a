"""Drawings and numbers tell the truth at their edges."""

import math
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloud_hub.monitoring.views import SignalView
from cloud_hub.web import advice, drawings, numbers
from edge_protocol.codes import FindingState, Verdict
from edge_protocol.statistics import Finding

COUNTS = st.lists(st.integers(0, 10**6), min_size=4, max_size=20)
NAMES = [verdict.name for verdict in Verdict]


def shapes(svg: str) -> list[ElementTree.Element]:
    """All elements of one or more drawings, which are well formed."""
    return list(ElementTree.fromstring(f"<g>{svg}</g>").iter())  # noqa: S314


@given(st.dictionaries(st.sampled_from(NAMES), st.integers(0, 10**9)))
def test_a_verdict_that_occurs_is_seen(verdicts: dict[str, int]) -> None:
    """One NG among a billion has a bar one can see; what does not occur has none; together they fill the width."""
    bars = [each for each in shapes(drawings.share_bar(verdicts)) if each.tag == "rect"]
    widths = {bar.get("class"): float(bar.get("width", "0")) for bar in bars}

    assert widths.keys() == {name.lower() for name, n in verdicts.items() if n}
    assert all(width > 1 for width in widths.values())
    assert not widths or math.isclose(sum(widths.values()), 100, abs_tol=0.1)


@given(COUNTS, st.data())
def test_a_histogram_stays_in_its_frame(reference: list[int], data: st.DataObject) -> None:
    """Any counts make a well-formed drawing with a bar for each bin, none higher than the frame."""
    n = len(reference)
    live = data.draw(st.lists(st.integers(0, 10**6), min_size=n, max_size=n))

    bars = [each for each in shapes(drawings.histogram(reference, live, "<&>")) if each.tag == "rect"]

    assert len(bars) == n - (not (reference[-1] or live[-1]))
    assert all(0 <= float(bar.get("y", "-1")) <= 90 and float(bar.get("height", "-1")) >= 0 for bar in bars)


@given(st.lists(st.floats(0, 50), max_size=100), st.floats(0.01, 5))
def test_each_window_lies_on_its_side_of_the_limit(values: list[float], limit: float) -> None:
    """A window at or above the limit is marked and drawn above its line, however far above; one below is not."""
    elements = shapes(drawings.index_history(values, limit, "x"))
    line = float(next(each for each in elements if each.get("class") == "above").get("height", "nan"))
    dots = [each for each in elements if each.get("class") in ("over", "under")]

    assert len(dots) == min(len(values), drawings.WINDOWS_SHOWN)
    for dot, value in zip(dots, values[-drawings.WINDOWS_SHOWN :], strict=True):
        y = float(dot.get("d", "").split()[1].removesuffix("h.01"))
        assert (dot.get("class") == "over") == (value >= limit)
        assert y <= line + 0.1 if value >= limit else y >= line - 0.1
        assert 0 <= y <= 50


@given(st.lists(st.floats(0, 1e9), max_size=80))
def test_a_sparkline_stays_in_its_frame(values: list[float]) -> None:
    """Any rates make a well-formed line inside its frame."""
    lines = [each for each in shapes(drawings.sparkline(values, "<&>")) if each.tag == "polyline"]

    assert len(lines) == (len(values) >= 2)
    for line in lines:
        assert all(0 <= float(point.split(",")[1]) <= 24 for point in line.get("points", "").split())


@given(st.integers(0, 10**9), st.integers(1, 10**9))
@example(10**9 - 1, 10**9)
@example(1, 10**9)
def test_a_share_never_rounds_the_truth_away(part: int, whole: int) -> None:
    """Nothing but nothing is written as 0 %, nothing but all as 100 %."""
    text = numbers.share(min(part, whole) / whole).replace(numbers.THIN_SPACE, "")

    written = float(text.strip("<%"))
    assert (written == 0) == (part == 0)
    assert (written == 100) == (part >= whole)


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (999, "999"), (12345, "12 345"), (-1234567, "-1 234 567")])
def test_thousands_are_set_apart(value: int, text: str) -> None:
    """Counts are grouped by thin spaces, which no country reads as a decimal sign."""
    assert numbers.count(value).replace(numbers.THIN_SPACE, " ") == text


@pytest.mark.parametrize("zone", ["", "Nowhere/Land", "../../etc/passwd", "/etc/passwd", "UTC", "Europe/Berlin\0"])
def test_a_time_zone_from_outside_breaks_nothing(zone: str) -> None:
    """A zone that is not known here is shown as UTC."""
    assert numbers.moment(0, zone) == "00:00:00"


@given(COUNTS, st.data())
def test_what_changed_is_true(reference: list[int], data: st.DataObject) -> None:
    """The sentence names a side on which there is more than there was, never less."""
    n = len(reference)
    live = data.draw(st.lists(st.integers(0, 10**6), min_size=n, max_size=n))

    _, was, now = advice.widest_gap([float(i) for i in range(n - 2)], reference, live)

    gaps = [
        abs(sum(live[:i]) / (sum(live[:-1]) or 1) - sum(reference[:i]) / (sum(reference[:-1]) or 1))
        for i in range(1, n - 1)
    ]
    assert math.isclose(abs(now - was), max(gaps), abs_tol=1e-9)


def test_a_signal_nobody_named_is_called_by_its_name() -> None:
    """A signal of a later agent is shown under its own name, with a general advice."""
    view = SignalView("g", "p", "novel", Finding(FindingState.DRIFT, 600), (1.0, 2.0), (9, 9, 9, 0), (0, 0, 27, 0), ())

    assert advice.words("novel").name == "novel"
    assert advice.direction(view) == "higher"
    assert "100\u202f% of the samples lie at or above 2" in advice.what_changed(view)
