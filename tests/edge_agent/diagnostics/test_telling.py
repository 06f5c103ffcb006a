"""Telling: whatever is known of a verdict is said once, in words that a person on the line understands."""

from pathlib import Path

import msgspec
import pytest

from edge_agent.diagnostics.exhibit import Exhibit
from edge_agent.diagnostics.telling import sentences
from edge_protocol.messages import ExplainedDetection, ExplainedFeature, ExplainedRegion, Explanation
from tests.edge_agent.diagnostics.test_shelf import exhibit

ROW = {
    "epoch": 1,
    "trigger": 7,
    "pipeline": "p",
    "verdict": "NG",
    "part": "P7",
    "at": "2026-01-01T00:00:00Z",
    "reason": "SCORE_REJECT",
    "bundle": "b",
    "version": "1.0.0",
    "variant": "fp32",
    "digest": "ab" * 32,
}


def told(**changes: object) -> str:
    """What is said of an exhibit with these in its explanation."""
    explanation = Explanation(epoch=1, trigger=7, pipeline="p", score=0.5, **changes)  # type: ignore[arg-type]
    return "\n".join(
        sentences(ROW, msgspec.structs.replace(exhibit(7), explanation=explanation, area_unit="mm²"), None)
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "score 0.5: OK below 0.1, NG from 0.2"),
        ({"label": "dent"}, "most likely dent"),
        ({"zones": ("tape", "door")}, "breaks the rule of tape, door"),
        (
            {"detections": (ExplainedDetection(label="person", score=0.9, box=(1.2, 2, 3, 4), zones=("tape",)),)},
            "saw person (0.90) at 1, 2 … 3, 4, breaks the rule of tape",
        ),
        (
            {"regions": (ExplainedRegion(area=12.5, peak=3.25, box=(1, 2, 3, 4)),)},
            "found a place of 12.5 mm² with a peak of 3.25 at 1, 2 … 3, 4",
        ),
        (
            {"reasons": (ExplainedFeature(name="kurtosis", value=7.5, percentile=99.0, part=0.25),)},
            "kurtosis is 7.5, above 99 % of the good ones, adds 0.25 to the score",
        ),
        ({"reasons": (ExplainedFeature(name="rms", value=0.1, percentile=2.0),)}, "rms is 0.1, below 98 % of the good"),
        ({"reasons": (ExplainedFeature(name="rms", value=0.1, percentile=50.0),)}, "rms is 0.1, as the good ones"),
        ({"reasons": (ExplainedFeature(name="rms", value=0.1),)}, "rms is 0.1"),
    ],
)
def test_each_finding_is_a_sentence(changes: dict[str, object], words: str) -> None:
    """Every field of an explanation is told."""
    assert words in told(**changes)


@pytest.mark.parametrize(
    ("verdict", "found", "picture", "words"),
    [
        ("NG", exhibit(7), Path("why.png"), "picture: why.png"),
        ("NG", msgspec.structs.replace(exhibit(7), picture="gone.png"), None, "removed meanwhile"),
        ("NG", msgspec.structs.replace(exhibit(7), no_picture="people"), None, "no picture: people"),
        ("OK", exhibit(7), None, "--out draws its reasons"),
        ("NG", None, None, "exhibits_mb"),
        ("OK", None, None, "only the latest windows"),
        ("UNINSPECTED", None, None, "nothing was judged"),
    ],
)
def test_why_there_is_no_picture_is_said(verdict: str, found: Exhibit | None, picture: Path | None, words: str) -> None:
    """The last sentence is about the picture: where it lies, or why there is none."""
    assert words in sentences({**ROW, "verdict": verdict}, found, picture)[-1]


def test_a_reason_of_a_later_version_is_shown_as_it_is() -> None:
    """A number that has no word here does no harm."""
    assert "reason 999" in sentences({**ROW, "reason": 999}, None, None)[0]


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("BLUR", "not trusted: blur, by [pipelines.guard] blur_share or blur_below"),
        ("COLOUR_SHIFT", "not trusted: colour shift, by [pipelines.guard] colour_factor"),
        ("LATE", "deadline_ms"),
        ("WRONG_SHAPE", "edge-agent infer"),
        ("ENGINE_FAULT", "edge-agent doctor"),
        ("QUARANTINED", "edge-agent status"),
    ],
)
def test_what_was_not_inspected_names_where_to_look(reason: str, words: str) -> None:
    """Whoever finds a sound part refused learns which key of the configuration did it, or where more is said."""
    assert words in sentences({**ROW, "verdict": "UNINSPECTED", "reason": reason}, None, None)[0]
