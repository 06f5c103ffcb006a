"""Figures and what they say come in, whether their goals are reached goes out, in words; pure.

The goal is what stands in brackets at the end: `(≥ 3)`, `(< 150)`, `(0)`, or for a kind of processor `(VNNI: ≥ 3)`.
It is met when the interval reaches it; `(0 within noise)` is about the interval alone.
"""

import operator
import re
from collections.abc import Callable, Collection, Mapping

from scripts.benches.pairs import Estimate

_GOAL = re.compile(r"\((?:(?P<flag>VNNI): )?(?P<sign>[≥≤<>])? ?(?P<number>[\d.]+)[^()]*\)$")
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "≥": operator.ge,
    "≤": operator.le,
    "<": operator.lt,
    ">": operator.gt,
    "": operator.eq,
}
_FLAGS = {"VNNI": {"avx512_vnni", "avx_vnni"}}
_MISSED = "MISSED"


def table(
    figures: Mapping[str, float], meaning: Mapping[str, str], obstacles: Mapping[str, str], flags: Collection[str]
) -> str:
    """One line for each figure: key, number, what it says, whether its goal is met; and what is in the way if not."""
    width, lines = max(map(len, figures)), []
    for key, value in figures.items():
        told = word(value, meaning[key], flags)
        lines.append(f"{key:{width}}  {value:>12.4g}  {meaning[key]}{f': {told}' if told else ''}")
        if told.startswith(_MISSED) and key in obstacles:
            lines.append(f"{'':{width + 16}}in the way: {obstacles[key]}")
    return "\n".join(lines)


def word(value: float, meaning: str, flags: Collection[str] = ()) -> str:
    """`met`, by how much it is missed, or why nothing can be said; nothing where a figure is only stated."""
    goal = _GOAL.search(meaning)
    if goal is None or "stated" in goal[0]:
        return ""
    if goal["flag"] and not _FLAGS[goal["flag"]] & set(flags):
        return f"not to be told here: the goal is for {goal['flag']}"
    sign, number = goal["sign"] or "", float(goal["number"])
    low, high = (value.low, value.high) if isinstance(value, Estimate) else (value, value)
    within = low <= number <= high if not sign else any(_SIGNS[sign](end, number) for end in (low, high))
    if _SIGNS[sign](value, number) or (within and "noise" in goal[0]):
        return "met"
    if within:
        return f"met within its interval ({low:.4g} to {high:.4g})"
    return f"{_MISSED} by {abs(value - number):.3g}" + (f", {abs(value / number - 1):.0%}" if number else "")
