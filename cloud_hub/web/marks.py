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

_ALL: dict[str, Mark] = {**VERDICTS, **{str(state): mark for state, mark in FINDINGS.items()}, **STATES}


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
