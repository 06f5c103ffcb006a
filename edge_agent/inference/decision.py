"""Predictions come in, verdicts go out, as the operating point says: alone, or with what the parts before were like."""

import math
from collections import deque

from edge_agent.judgement import Prediction
from edge_protocol.bundle import OperatingPoint
from edge_protocol.codes import Reason, Verdict

_REASONS = {Verdict.OK: Reason.NONE, Verdict.REVIEW: Reason.SCORE_REVIEW, Verdict.NG: Reason.SCORE_REJECT}


def verdict(prediction: Prediction, point: OperatingPoint) -> tuple[Verdict, Reason]:
    """The verdict of a prediction by itself: OK below `accept`, NG from `reject` on, REVIEW between."""
    score = _counted(prediction, point)
    found = Verdict.OK if score < point.accept else Verdict.NG if score >= point.reject else Verdict.REVIEW
    return found, _REASONS[found]


class Decider:
    """The verdicts of one pipeline in turn, with the persistence and the hysteresis of the operating point.

    NG: the score reaches `reject`, and so did k of the latest n, this one among them; fewer make it REVIEW. Right after
    an NG a score within `hysteresis` below `reject` reaches it still; from an NG to the next OK, one within it below
    `accept` is REVIEW still. A part without a score changes nothing; another model begins a new one.
    """

    def __init__(self, point: OperatingPoint) -> None:
        needed, of = point.persistence
        self._point = point
        self._needed = needed
        self._reached: deque[bool] = deque(maxlen=of)
        self._was_ng = False
        self._is_recovering = False

    def decide(self, prediction: Prediction) -> tuple[Verdict, Reason]:
        """The verdict of the next part."""
        point, score = self._point, _counted(prediction, self._point)
        reject = point.reject - point.hysteresis if self._was_ng else point.reject
        accept = point.accept - point.hysteresis if self._is_recovering else point.accept
        self._reached.append(score >= reject)
        if score >= reject and sum(self._reached) >= self._needed:
            found = Verdict.NG
        else:
            found = Verdict.OK if score < accept else Verdict.REVIEW
        self._was_ng = found is Verdict.NG
        self._is_recovering = found is not Verdict.OK and (self._was_ng or self._is_recovering)
        return found, _REASONS[found]


def _counted(prediction: Prediction, point: OperatingPoint) -> float:
    """The score, unless all that stands behind it is too small to count: then the part is as good as one without.

    A score that the map shows nowhere is not excused. The record keeps the score in any case.
    """
    areas = [region.area for region in prediction.regions]
    return -math.inf if areas and max(areas) < point.min_area else prediction.score
