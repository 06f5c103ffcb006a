import json

import msgspec

from scripts.day.account import Account
from scripts.day.summary import Row, Summary, percentile, pipeline_of, records_of


def row(trigger: int, verdict: str, latency_ms: float, *, bundle: str = "surface-anomaly") -> Row:
    """A verdict of the pipeline `surface`."""
    return Row(9, trigger, "surface", verdict, "NONE", latency_ms, bundle, "ab" if bundle else "")


def test_a_pipeline_counts_all_and_times_what_was_judged() -> None:
    """Every verdict is counted; what was not inspected has no latency and, after a kill, no model."""
    rows = [row(1, "OK", 4.0), row(2, "NG", 6.0), row(3, "UNINSPECTED", 900.0, bundle=""), row(4, "OK", 5.0)]

    found = pipeline_of("surface", rows, 4)

    assert found.verdicts == {"OK": 2, "NG": 1, "REVIEW": 0, "UNINSPECTED": 1}
    assert (found.model, found.digest, found.triggers) == ("surface-anomaly", "ab", 4)
    assert (found.p50_ms, found.p99_ms) == (5.0, 6.0)


def test_a_pipeline_that_judged_nothing_has_zeros() -> None:
    """No verdict is no error."""
    found = pipeline_of("surface", [], 0)

    assert (found.p50_ms, found.p99_ms, found.model) == (0.0, 0.0, "")


def test_a_percentile_is_one_of_the_values() -> None:
    """The nearest rank: at least that share of the values does not exceed it."""
    values = [float(n) for n in range(1, 101)]

    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]


def test_the_summary_has_the_fields_that_are_promised() -> None:
    """Whoever reads summary.json finds the names that its description gives."""
    records = records_of(Account(produced=5, archived=4, buffered=0, declared=1), 0)
    summary = Summary(gateways=(), records=records, updates=(), drift=(), quality={}, duration_s=1.5)

    written = json.loads(msgspec.json.encode(summary))

    assert written.keys() == {"gateways", "records", "updates", "drift", "quality", "duration_s"}
    assert written["records"] == {"produced": 5, "archived": 4, "buffered": 0, "shed": 1, "duplicates": 0}
