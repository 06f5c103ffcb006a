"""What each part really was, and how well it was judged: the same seed and number always give the same part.

Numbers of triggers and verdicts come in, counts go out. Verdicts were given without this knowledge.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import msgspec

Draw: TypeAlias = Callable[[int], str | None]
"""The defect or fault of part n; None: it is good."""


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """How one pipeline judged. `defects` = `caught` + `escaped` + `defects_in_review` + `defects_uninspected`."""

    parts: int
    defects: int
    caught: int
    escaped: int
    defects_in_review: int
    defects_uninspected: int
    overkill: int
    good_in_review: int


class Truth:
    """The truth about the parts of one gateway, drawn once each."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._known: dict[int, str | None] = {}

    def __call__(self, n: int) -> str | None:
        """The defect of part `n`; None: it is good."""
        if n not in self._known:
            self._known[n] = self._draw(n)
        return self._known[n]


def quality(verdicts: Mapping[int, str], truth: Draw) -> Quality:
    """How the `verdicts`, by trigger, compare with the truth."""
    counts: dict[tuple[bool, str], int] = {}
    for n, verdict in verdicts.items():
        key = (truth(n) is not None, verdict)
        counts[key] = counts.get(key, 0) + 1
    return Quality(
        parts=len(verdicts),
        defects=sum(count for (is_defect, _), count in counts.items() if is_defect),
        caught=counts.get((True, "NG"), 0),
        escaped=counts.get((True, "OK"), 0),
        defects_in_review=counts.get((True, "REVIEW"), 0),
        defects_uninspected=counts.get((True, "UNINSPECTED"), 0),
        overkill=counts.get((False, "NG"), 0),
        good_in_review=counts.get((False, "REVIEW"), 0),
    )
