"""A figure and what it says come in, whether its goal is reached goes out, in words; pure.

The goal is what stands in brackets at the end: `(≥ 3)`, `(< 150)`, `(0)`, or for a kind of processor `(VNNI: ≥ 3)`.
"""

import operator
import re
from collections.abc import Callable, Collection

_GOAL = re.compile(r"\((?:(?P<flag>VNNI): )?(?P<sign>[≥≤<>])? ?(?P<number>[\d.]+)[^()]*\)$")
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "≥": operator.ge,
    "≤": operator.le,
    "<": operator.lt,
    ">": operator.gt,
    "": operator.eq,
}
_FLAGS = {"VNNI": {"avx512_vnni", "avx_vnni"}}


def word(value: float, meaning: str, flags: Collection[str] = ()) -> str:
    """`met`, by how much it is missed, or why nothing can be said; nothing where a figure is only stated."""
    goal = _GOAL.search(meaning)
    if goal is None or "stated" in goal[0] or "noise" in goal[0]:
        return ""
    if goal["flag"] and not _FLAGS[goal["flag"]] & set(flags):
        return f"not to be told here: the goal is for {goal['flag']}"
    sign, number = goal["sign"] or "", float(goal["number"])
    if _SIGNS[sign](value, number):
        return "met"
    return f"MISSED by {abs(value - number):.3g}" + (f", {abs(value / number - 1):.0%}" if number else "")
