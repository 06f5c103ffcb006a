"""Small drawings as inline SVG: sparklines, shares, histograms, an index through time. Numbers in, markup out.

Geometry is attributes and colours are classes, so the strict content policy holds and both colour schemes fit.
"""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from cloud_hub.web import numbers
from cloud_hub.web.marks import VERDICTS

LEAST_SHARE = 0.012
"""A verdict that occurs at all is drawn at least this wide: one NG in ten thousand must be seen."""

WINDOWS_SHOWN = 60
MEMBERS_ORDER = ("updated", "failed", "unknown", "reverting", "reverted", "assigned", "pending")


def sparkline(values: Sequence[float], label: str, width: int = 96, height: int = 24) -> Markup:
    """A line through `values`, from zero; the label says in words what it shows."""
    if len(values) < 2:
        return Markup('<svg class="spark" viewBox="0 0 {} {}" aria-hidden="true"></svg>').format(width, height)
    top = max(values) or 1
    step = width / (len(values) - 1)
    points = [f"{i * step:.1f},{height - 1.5 - value / top * (height - 3):.1f}" for i, value in enumerate(values)]
    area = f"0,{height} {' '.join(points)} {width},{height}"
    return Markup(
        '<svg class="spark" viewBox="0 0 {0} {1}" preserveAspectRatio="none" role="img" aria-label="{2}">'
        '<polygon class="area" points="{3}"/><polyline class="line" points="{4}"/></svg>'
    ).format(width, height, label, area, " ".join(points))


def share_bar(verdicts: Mapping[str, int]) -> Markup:
    """The shares of the verdicts as one bar, in the order of `VERDICTS`; the label says them in words."""
    total = sum(verdicts.values())
    if not total:
        return Markup('<svg class="shares" viewBox="0 0 100 8" aria-label="no verdicts yet" role="img"></svg>')
    widths = {name: max(verdicts.get(name, 0) / total, LEAST_SHARE) for name in VERDICTS if verdicts.get(name, 0)}
    scale = 100 / sum(widths.values())
    left, bars = 0.0, Markup()
    for name, width in widths.items():
        bars += Markup('<rect class="{}" x="{:.2f}" y="0" width="{:.2f}" height="8"/>').format(
            VERDICTS[name].css, left, width * scale
        )
        left += width * scale
    label = ", ".join(f"{name} {numbers.share(verdicts.get(name, 0) / total)}" for name in VERDICTS)
    return Markup(
        '<svg class="shares" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(label, bars)


def members_bar(states: Mapping[str, int]) -> Markup:
    """The members of a wave or rollout by state as one bar, but for those who take no part; the label has all."""
    total = sum(states.get(name, 0) for name in MEMBERS_ORDER)
    left, bars = 0.0, Markup()
    for name in MEMBERS_ORDER:
        if n := states.get(name, 0):
            width = n / total * 100
            bars += Markup('<rect class="{}" x="{:.2f}" y="0" width="{:.2f}" height="8"/>').format(name, left, width)
            left += width
    label = ", ".join(f"{n} {name}" for name, n in states.items()) or "nobody"
    return Markup(
        '<svg class="shares states" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(label, bars)


def histogram(reference: Sequence[int], live: Sequence[int], label: str) -> Markup:
    """Live shares as bars over the reference as an outline, one column a bin.

    Bins are drawn equally wide: they were cut to hold equal shares of good samples, so the reference is near flat and
    whatever stands out has moved. The last bin is what is not finite; it is drawn only where something fell in it.
    """
    expected, seen = _shares(reference), _shares(live)
    if not (reference[-1] or live[-1]):
        expected, seen = expected[:-1], seen[:-1]
    top = max(*expected, *seen, 1e-9)
    step = 320 / len(expected)
    bars, outline = Markup(), [f"M0 {_y(expected[0], top)}"]
    for i, (was, now) in enumerate(zip(expected, seen, strict=True)):
        y = _y(now, top)
        bars += Markup('<rect x="{:.1f}" y="{}" width="{:.1f}" height="{:.1f}"/>').format(
            i * step + 1, y, step - 2, 90 - float(y)
        )
        outline.append(f"V{_y(was, top)}H{(i + 1) * step:.1f}")
    line = " ".join(outline)
    return Markup(
        '<svg class="histogram" viewBox="0 0 320 90" preserveAspectRatio="none" role="img" aria-label="{0}">'
        '<path class="was" d="{1} V90 H0 Z"/><g class="now">{2}</g><path class="line" d="{1}"/></svg>'
    ).format(label, line, bars)


def index_history(values: Sequence[float], limit: float, label: str) -> Markup:
    """The index of each window so far, and the line from which it counts as drift; what is far above is cut off."""
    shown = list(values[-WINDOWS_SHOWN:])
    top = min(max(*shown, limit * 1.6), limit * 4) if shown else limit * 1.6
    step = 320 / max(len(shown) - 1, 1)
    at = [(i * step if len(shown) > 1 else 160.0, 46 - min(value, top) / top * 42) for i, value in enumerate(shown)]
    limit_y = 46 - limit / top * 42
    dots = Markup().join(
        Markup('<path class="{}" d="M{:.1f} {:.1f}h.01"/>').format("over" if value >= limit else "under", x, y)
        for (x, y), value in zip(at, shown, strict=True)
    )
    return Markup(
        '<svg class="history" viewBox="-4 0 328 50" preserveAspectRatio="none" role="img" aria-label="{0}">'
        '<rect class="above" x="-4" y="0" width="328" height="{1:.1f}"/>'
        '<path class="limit" d="M-4 {1:.1f}H324"/><polyline class="line" points="{2}"/>{3}</svg>'
        '<svg class="limit-name" viewBox="0 0 30 50" aria-hidden="true"><text x="2" y="{4:.1f}">{5:g}</text></svg>'
    ).format(label, limit_y, " ".join(f"{x:.1f},{y:.1f}" for x, y in at), dots, limit_y + 4, limit)


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) or 1
    return [count / total for count in counts]


def _y(share: float, top: float) -> str:
    return f"{90 - share / top * 84:.1f}"
