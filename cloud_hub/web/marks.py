"""What a verdict, a finding and a state look like: always a shape and a word, the colour only repeats them."""

from dataclasses import dataclass

from markupsafe import Markup

from edge_protocol.codes import FindingState


@dataclass(frozen=True, slots=True)
class Mark:
    """A shape with its word; `css` chooses the colour, `letter` stands where the word has no room."""

    word: str
    letter: str
    css: str
    shape: str


_DISC = '<circle cx="8" cy="8" r="7" class="fill"/>'
_SQUARE = '<rect x="1.5" y="1.5" width="13" height="13" rx="2" class="fill"/>'
_DIAMOND = '<path d="M8 .6 15.4 8 8 15.4.6 8Z" class="fill"/>'
_RING = '<circle cx="8" cy="8" r="6.2" class="dash"/>'
_TRIANGLE = '<path d="M8 1.2 15.4 14.6H.6Z" class="fill"/>'

VERDICTS = {
    "OK": Mark("OK", "O", "ok", _DISC + '<path d="M4.8 8.3 7 10.5l4.3-4.8" class="cut"/>'),
    "NG": Mark("NG", "N", "ng", _SQUARE + '<path d="m5.2 5.2 5.6 5.6m0-5.6-5.6 5.6" class="cut"/>'),
    "REVIEW": Mark("REVIEW", "R", "review", _DIAMOND + '<path d="M8 4.6v4.2m0 2v.4" class="cut"/>'),
    "UNINSPECTED": Mark("UNINSPECTED", "U", "uninspected", _RING + '<path d="M5 8h6" class="stroke"/>'),
}

FINDINGS = {
    FindingState.OK: Mark("No drift", "–", "ok", VERDICTS["OK"].shape),
    FindingState.INSUFFICIENT: Mark("Too few samples", "…", "uninspected", VERDICTS["UNINSPECTED"].shape),
    FindingState.REAL_BUT_SMALL: Mark("Real but small", "≈", "review", VERDICTS["REVIEW"].shape),
    FindingState.DRIFT: Mark("Drift", "!", "ng", _TRIANGLE + '<path d="M8 6v4m0 2v.4" class="cut"/>'),
    FindingState.INTEGRITY_FAULT: Mark("Integrity fault", "!", "ng", VERDICTS["NG"].shape),
}

STATES = {
    "online": Mark("Online", "●", "ok", '<circle cx="8" cy="8" r="5" class="fill"/>'),
    "offline": Mark("Offline", "○", "uninspected", '<circle cx="8" cy="8" r="4.5" class="ring"/>'),
    "balanced": Mark("Balanced", "=", "ok", VERDICTS["OK"].shape),
    "unbalanced": Mark("Not balanced", "≠", "ng", FINDINGS[FindingState.DRIFT].shape),
    "alarm": Mark("Alarm", "!", "ng", FINDINGS[FindingState.DRIFT].shape),
    "unknown": Mark("Nothing known yet", "?", "uninspected", VERDICTS["UNINSPECTED"].shape),
}

_HALF = '<circle cx="8" cy="8" r="6.2" class="ring"/><path d="M8 3.6a4.4 4.4 0 0 1 0 8.8Z" class="fill"/>'
_BACK = '<path d="M6.6 3 2.4 7.2l4.2 4.2M2.8 7.2h6.6a4.2 4.2 0 0 1 0 8.4H8" class="stroke"/>'
_BARS = '<path d="M5 3.4v9.2M11 3.4v9.2" class="stroke"/>'
_STOP = '<rect x="2.6" y="2.6" width="10.8" height="10.8" rx="2" class="ring"/>'

UPDATES = {
    "pending": Mark("Pending", "…", "uninspected", '<circle cx="8" cy="8" r="5.6" class="dash"/>'),
    "assigned": Mark("Assigned", "→", "now", _HALF),
    "updated": Mark("Updated", "✓", "ok", VERDICTS["OK"].shape),
    "failed": Mark("Failed", "×", "ng", VERDICTS["NG"].shape),
    "unknown-member": Mark("Unknown", "?", "review", _DIAMOND + '<path d="M8 4.6v4.2m0 2v.4" class="cut"/>'),
    "excluded": Mark("Excluded", "–", "uninspected", VERDICTS["UNINSPECTED"].shape),
    "reverting": Mark("Reverting", "↶", "review", _BACK),
    "reverted": Mark("Reverted", "↶", "uninspected", _BACK),
    "running": Mark("Running", "→", "now", _HALF),
    "paused": Mark("Paused", "‖", "review", _BARS),
    "stopped": Mark("Stopped", "■", "uninspected", _STOP),
    "finished": Mark("Finished", "✓", "ok", VERDICTS["OK"].shape),
    "pass": Mark("pass", "✓", "ok", VERDICTS["OK"].shape),
    "fail": Mark("fail", "×", "ng", VERDICTS["NG"].shape),
    "signed": Mark("Signed", "✓", "ok", VERDICTS["OK"].shape),
    "unsigned": Mark("Not signed", "!", "review", FINDINGS[FindingState.DRIFT].shape),
    "below-floor": Mark("Below the floor", "×", "ng", VERDICTS["NG"].shape),
}
"""States of a rollout, of its members and of its gates, and of a release. `unknown` alone is a state of the fleet."""

_ALL: dict[str, Mark] = {**UPDATES, **VERDICTS, **{str(state): mark for state, mark in FINDINGS.items()}, **STATES}


def mark(name: str) -> Markup:
    """The shape alone, beside a text that says the same."""
    found = _ALL[name]
    return Markup(  # noqa: S704 — our own shapes
        f'<svg class="mark {found.css}" viewBox="0 0 16 16" aria-hidden="true" focusable="false">{found.shape}</svg>'
    )


def chip(name: str, text: str = "") -> Markup:
    """The shape and its word, or a text in the word's place."""
    found = _ALL[name]
    return Markup('<span class="chip {}">{}{}</span>').format(found.css, mark(name), text or found.word)
