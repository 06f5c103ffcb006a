"""Plain words for what moved and what to do about it: findings in, sentences out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cloud_hub.monitoring.alarms import DRIFT
from cloud_hub.monitoring.views import AlarmView, SignalView
from cloud_hub.web import numbers
from edge_protocol.codes import FindingState


@dataclass(frozen=True, slots=True)
class Words:
    """A signal in the words of the line: its name, what less and more of it look like, what to look at first."""

    name: str
    less: str
    more: str
    advice: str


SIGNALS = {
    "luma_mean": Words("Brightness", "darker", "brighter", "Check the lamp, the shutter time and the lens for dirt."),
    "luma_std": Words("Contrast", "flatter", "harder", "Check the lighting angle and the lens for haze or dirt."),
    "sharpness": Words("Sharpness", "softer", "sharper or noisier", "Check focus, vibration and the camera's gain."),
    "red_green": Words("Colour, red to green", "greener", "redder", "Check the white balance and the lamp's age."),
    "blue_green": Words("Colour, blue to green", "warmer", "bluer", "Check the white balance and the lamp's age."),
    "rms": Words("Vibration level", "quieter", "louder", "Check the sensor's mounting, its gain and the load."),
    "kurtosis": Words(
        "Impulsiveness", "smoother", "more impulsive", "Listen for impacts: bearings, play, loose parts."
    ),
    "crest": Words("Peak to level", "smoother", "more peaked", "Listen for impacts: bearings, play, loose parts."),
    "zero_crossings": Words("Pitch", "lower", "higher", "Check the speed, and the sensor's cable for hum."),
    "score": Words("Model score", "lower", "higher", "Look at recent parts: the input moved, or the product changed."),
}
"""The signals that the agent counts. One that is not here is called by its own name."""

STATES: Mapping[FindingState, str] = {
    FindingState.OK: "Live looks like the reference.",
    FindingState.INSUFFICIENT: "Too few samples in the window to say anything.",
    FindingState.REAL_BUT_SMALL: "There is a difference, too small to matter.",
    FindingState.DRIFT: "Live no longer looks like the reference.",
    FindingState.INTEGRITY_FAULT: "The counters cannot be right: do not trust them.",
}


def words(signal: str) -> Words:
    """The words for a signal."""
    return SIGNALS.get(signal) or Words(signal, "lower", "higher", "Compare recent inputs with the reference.")


def sentence(alarm: AlarmView) -> str:
    """An alarm in the words of the line; one of a kind that has none here is told as the hub wrote it."""
    if alarm.kind != DRIFT or not alarm.psi:
        return alarm.text.removeprefix(f"{alarm.gateway}/{alarm.pipeline}: ").removeprefix(f"{alarm.gateway}: ")
    *others, last = (words(name).name for name in sorted(alarm.psi, key=lambda name: -alarm.psi[name]))
    subject = f"{', '.join(others)} and {last.lower()}" if others else last
    return f"{subject} no longer {'look' if others else 'looks'} like the reference."


def what_changed(view: SignalView) -> str:
    """The one fact that shows the change best: how many samples lie on one side of one value, then and now."""
    if not sum(view.live) or not sum(view.reference):
        return ""
    edge, was, now = widest_gap(view.edges, view.reference, view.live)
    side = "below" if now >= was else "at or above"
    then, today = (was, now) if now >= was else (1 - was, 1 - now)
    return f"{numbers.share(today)} of the samples lie {side} {edge:.4g}; in the reference it is {numbers.share(then)}."


def direction(view: SignalView) -> str:
    """What less or more of the signal looks like, whichever it is."""
    _, was, now = widest_gap(view.edges, view.reference, view.live)
    found = words(view.signal)
    return found.less if now > was else found.more


def widest_gap(edges: Sequence[float], reference: Sequence[int], live: Sequence[int]) -> tuple[float, float, float]:
    """The edge where the two samples differ most (Kolmogorov), and the shares of reference and live below it."""
    expected, seen = _shares(reference[:-1]), _shares(live[:-1])
    was = now = 0.0
    best = (edges[0], expected[0], seen[0])
    for edge, p, q in zip(edges, expected, seen, strict=False):
        was, now = was + p, now + q
        if abs(now - was) > abs(best[2] - best[1]):
            best = (edge, was, now)
    return best


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) or 1
    return [count / total for count in counts]
