"""The specification says what the code does: every word and every field stands in a table, and no other."""

import re
from pathlib import Path

import msgspec
import pytest

import edge_protocol
from edge_protocol import (
    agreement,
    batch,
    bundle,
    codes,
    counters,
    envelope,
    messages,
    metadata,
    points,
    statistics,
    topics,
)
from edge_protocol.updates import CURES, PASSING, Refusal, Step

README = (Path(edge_protocol.__file__).parent / "README.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in README.splitlines() if line.startswith("| ")]

STRUCTS: dict[str, type[msgspec.Struct]] = {
    "link": messages.Link,
    "receipt": messages.Receipt,
    "state": messages.GatewayState,
    "place": messages.Place,
    "time": messages.Time,
    "stream-account": messages.StreamAccount,
    "pipeline-state": messages.PipelineState,
    "want": messages.Want,
    "block": messages.Block,
    "carried": metadata.Carried,
    **messages.KINDS,
    "explained-detection": messages.ExplainedDetection,
    "explained-region": messages.ExplainedRegion,
    "explained-feature": messages.ExplainedFeature,
    "published": agreement.Published,
    "directed": agreement.Directed,
    "point": points.Point,
    "context": batch.Context,
    "manifest": bundle.Manifest,
    "file": bundle.File,
    "image": bundle.ImageInput,
    "window": bundle.WindowInput,
    "image-anomaly": bundle.AnomalyOutput,
    "vibration": bundle.Vibration,
    "bearing": bundle.Bearing,
    "tensor": bundle.TensorInput,
    "graph-state": bundle.State,
    "constant": bundle.Constant,
    "classification": bundle.ClassOutput,
    "detection": bundle.DetectionOutput,
    "segmentation": bundle.SegmentationOutput,
    "window-anomaly": bundle.WindowAnomalyOutput,
    "regression": bundle.RegressionOutput,
    "zone": bundle.Zone,
    "operating-point": bundle.OperatingPoint,
    "variant": bundle.Variant,
    "golden": bundle.Golden,
    "expectation": bundle.Expectation,
    "trained": bundle.Trained,
    "licence": bundle.Licence,
    "budget": bundle.Budget,
    "reference": counters.Reference,
    "signal": counters.SignalReference,
}


def _table(head: str) -> list[list[str]]:
    """The rows of the table whose first head cell is `head`, the first cell without its backticks."""
    lines = README.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {head} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        first, *rest = (cell.strip() for cell in line.strip("|").split("|"))
        rows.append([first.strip("`"), *rest])
    return rows


def test_every_field_is_specified_and_no_other():
    """Each field of each message, record and bundle has a row, and each such row has a field."""
    specified = {cells[0].strip("`") for cells in ROWS if re.fullmatch(r"`[a-z-]+\.\w+`", cells[0])}

    real = {f"{name}.{field}" for name, struct in STRUCTS.items() for field in struct.__struct_fields__}

    assert specified == real


@pytest.mark.parametrize(("head", "enum"), [("verdict", codes.Verdict), ("reason", codes.Reason)])
def test_numbered_words_are_specified_with_their_numbers(head, enum):
    """Each verdict and each reason stands in its table under its number."""
    assert {row[0]: int(row[1]) for row in _table(head)} == {word.name: word.value for word in enum}


def test_streams_are_specified_in_their_order():
    """The table of streams has the order in which they are sent."""
    assert [row[0] for row in _table("stream")] == [stream.value for stream in codes.Stream]


def test_severities_are_specified():
    """The severities order the verdicts as `worst` does."""
    severity = {codes.Verdict[row[0]]: int(row[2][0]) for row in _table("verdict")}

    assert all(
        codes.worst((left, right)) == max(left, right, key=severity.__getitem__)
        for left in severity
        for right in severity
    )


def test_findings_are_specified():
    """Each state of a finding has its row."""
    assert [row[0] for row in _table("finding")] == [state.value for state in codes.FindingState]


def test_steps_of_an_update_are_specified_in_their_order():
    """Each step has its row."""
    assert [row[0] for row in _table("step")] == [step.value for step in Step]


def test_refusals_are_specified_with_their_cures():
    """Each refusal stands with what to do about it, word for word as the program says it."""
    real = [[word.value, "yes" if word in PASSING else "no", CURES[word]] for word in Refusal]

    assert _table("refusal") == real


def test_arrays_are_specified_place_by_place():
    """The places of envelope and batch are those of the structs that are written."""
    places = [cells[1].strip("`") for cells in ROWS if cells[0].isdigit()]

    assert places == [*envelope.Envelope.__struct_fields__, *batch._Wire.__struct_fields__]


def test_columns_are_specified_with_their_widths():
    """Each column of a verdict batch stands with the widths it may have."""
    widths = {row[0]: re.findall(r"\b[iuf][1248]\b", row[1]) for row in _table("column")}

    assert widths == {name: [kind[1:] for kind in kinds] for name, kinds in batch._COLUMNS.items()}


@pytest.mark.parametrize(
    "figure",
    [
        f"**{messages.MAX_MESSAGE_BYTES} bytes**",
        f"at most {batch.MAX_BODY_BYTES // 2**20} MiB uncompressed",
        f"1…{batch.MAX_ROWS}",
        f"≤ {batch.MAX_CONTEXTS} context",
        f"cut to {batch.MAX_TEXT_BYTES} bytes",
        f"steps of {batch.LATENCY_UNIT_US} µs",
        f"At most {bundle.MAX_MANIFEST_BYTES // 2**20} MiB",
        f"1…{counters.MAX_EDGES} float",
        f"Below {statistics.MIN_COUNT} live samples",
        f"PSI ≥ {statistics.PSI_DRIFT}",
        f"1…{messages.MAX_WANT_BYTES}, bytes",
        f"blocks of {messages.BLOCK_BYTES} bytes",
        f"0…{metadata.MAX_SET_BYTES}, bytes",
        f"at most {metadata.MAX_FILES} files and {metadata.MAX_SET_BYTES // 2**20} MiB",
        f"holds `{metadata.MARK}`",
        f"`press-1` → `{topics.shard_of('press-1')}`",
        f"`{envelope.ED25519}` or `{envelope.ECDSA_P256}`",
        *(f"`{feature}`" for feature in sorted(bundle.FEATURES)),
        *(f"`{variant}`" for variant in sorted(bundle.VARIANTS)),
    ],
)
def test_limits_are_specified_as_they_are(figure):
    """A limit in the specification is the one in the code."""
    assert figure in README
