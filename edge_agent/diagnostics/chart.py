"""The reasons of a window come in, a picture of where they stand among the good ones goes out, for people."""

import cv2
import numpy as np
import numpy.typing as npt

from edge_agent.diagnostics.exhibit import Exhibit
from edge_protocol.messages import ExplainedFeature

WIDTH, ROW, MARGIN, TEXT = 960, 44, 24, 420
"""Pixels: of the whole, of a reason, around, and of what is written beside a scale."""

_PAPER, _INK, _LINE = (255, 255, 255), (40, 40, 40), (200, 200, 200)
_COLOURS = {"OK": (90, 160, 60), "NG": (60, 60, 220), "REVIEW": (0, 150, 220)}
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_chart(exhibit: Exhibit) -> bytes:
    """PNG: the verdict, and for each reason its value and a mark on a scale from 0 to 100 % of the good ones."""
    reasons = exhibit.explanation.reasons
    canvas = np.full((2 * MARGIN + ROW * (len(reasons) + 2), WIDTH, 3), _PAPER, np.uint8)
    colour = _COLOURS.get(exhibit.verdict, _INK)
    score = "" if exhibit.explanation.score is None else f"  score {exhibit.explanation.score:.4g}"
    _write(canvas, f"{exhibit.name}: {exhibit.verdict}{score}", (MARGIN, MARGIN + ROW // 2), 0.8, colour)
    _write(canvas, f"OK below {exhibit.accept:.4g}, NG from {exhibit.reject:.4g}", (MARGIN, MARGIN + ROW), 0.5, _INK)
    for number, reason in enumerate(reasons):
        _draw_reason(canvas, reason, MARGIN + ROW * (number + 2), colour)
    _ok, encoded = cv2.imencode(".png", canvas)
    return encoded.tobytes()


def _draw_reason(canvas: npt.NDArray[np.uint8], reason: ExplainedFeature, y: int, colour: tuple[int, int, int]) -> None:
    part = f", adds {reason.part:.3g}" if reason.part is not None else ""
    _write(canvas, f"{reason.name} {reason.value:.4g}{part}", (MARGIN, y), 0.55, _INK)
    left, right = MARGIN + TEXT, WIDTH - MARGIN - 80
    cv2.line(canvas, (left, y - 5), (right, y - 5), _LINE, 2)
    for tick in (left, (left + right) // 2, right):
        cv2.line(canvas, (tick, y - 11), (tick, y + 1), _LINE, 2)
    if reason.percentile is not None:
        at = round(left + (right - left) * reason.percentile / 100)
        cv2.circle(canvas, (at, y - 5), 8, colour, -1, cv2.LINE_AA)
        _write(canvas, f"{reason.percentile:.4g} %", (right + 16, y), 0.5, _INK)


def _write(canvas: npt.NDArray[np.uint8], text: str, at: tuple[int, int], size: float, colour: tuple[int, ...]) -> None:
    # The font has ASCII only: what it lacks would be question marks.
    cv2.putText(canvas, text.encode("ascii", "replace").decode(), at, _FONT, size, colour, 1, cv2.LINE_AA)
