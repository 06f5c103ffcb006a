"""What a day came to, as structs: `scripts/demo --out DIR` writes them into `DIR/summary.json`.

The fields are described in README.md beside this file. Pure: rows and accounts come in, a `Summary` goes out.
"""

import math
from collections import Counter
from collections.abc import Sequence

import msgspec

from scripts.day.account import Account
from scripts.day.truth import Quality

VERDICTS = ("OK", "NG", "REVIEW", "UNINSPECTED")


class Row(msgspec.Struct, frozen=True):
    """A verdict as it stands in the gateway's own database."""

    epoch: int
    trigger: int
    pipeline: str
    verdict: str
    reason: str
    latency_ms: float
    bundle: str
    digest: str


class PipelineSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One pipeline: `triggers` were taken, `verdicts` were given; latencies are of all parts that were judged."""

    name: str
    model: str
    digest: str
    triggers: int
    verdicts: dict[str, int]
    p50_ms: float
    p99_ms: float


class GatewaySummary(msgspec.Struct, frozen=True):
    """One gateway and its pipelines."""

    name: str
    pipelines: tuple[PipelineSummary, ...]


class Records(msgspec.Struct, frozen=True, kw_only=True):
    """The account of the fleet. `shed` is all that is declared, `duplicates` are rows that the hub has twice."""

    produced: int
    archived: int
    buffered: int
    shed: int
    duplicates: int


class Update(msgspec.Struct, frozen=True):
    """How a release fared on a gateway: `updated`, `refused`, `rolled_back` or `waiting`, and why."""

    bundle: str
    version: str
    gateway: str
    outcome: str
    reason: str


class Drift(msgspec.Struct, frozen=True):
    """What the hub last found of one signal. `psi` is null before its first window was full."""

    gateway: str
    pipeline: str
    signal: str
    finding: str
    psi: float | None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of `summary.json`."""

    gateways: tuple[GatewaySummary, ...]
    records: Records
    updates: tuple[Update, ...]
    drift: tuple[Drift, ...]
    quality: dict[str, Quality]
    duration_s: float


def pipeline_of(name: str, rows: Sequence[Row], triggers: int) -> PipelineSummary:
    """One pipeline of the rows of its gateway."""
    mine = [row for row in rows if row.pipeline == name]
    given = Counter(row.verdict for row in mine)
    latencies = sorted(row.latency_ms for row in mine if row.verdict != "UNINSPECTED")
    # A trigger that a kill left without an answer has no context of a model.
    models = [row for row in mine if row.bundle]
    return PipelineSummary(
        name=name,
        model=models[-1].bundle if models else "",
        digest=models[-1].digest if models else "",
        triggers=triggers,
        verdicts={verdict: given[verdict] for verdict in VERDICTS},
        p50_ms=round(percentile(latencies, 0.5), 3),
        p99_ms=round(percentile(latencies, 0.99), 3),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the sorted `values` that at least `share` of them do not exceed; 0 when there are none."""
    return values[math.ceil(share * len(values)) - 1] if values else 0.0


def records_of(account: Account, duplicates: int) -> Records:
    """The account in the words of the summary."""
    return Records(
        produced=account.produced,
        archived=account.archived,
        buffered=account.buffered,
        shed=account.declared,
        duplicates=duplicates,
    )
