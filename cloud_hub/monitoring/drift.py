"""Fleet drift: panes that have arrived are grouped into windows, judged against the reference, and raise an alarm.

All of it is derived from rows and written in one transaction: the same panes give the same windows and the same
alarm, however often they were sent and whenever the hub was killed. χ² is kept for people to see, it alarms nobody.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import Connection, Row, func, select, update

from cloud_hub.monitoring.alarms import DRIFT, Subject, clear, clear_others, raise_alarm, standing
from cloud_hub.monitoring.views import pack_counts, reference_of, unpack_counts, unpack_findings
from cloud_hub.storage.schema import batches, bundles, cursors, panes, windows
from edge_protocol import ranges, statistics
from edge_protocol.codes import FindingState
from edge_protocol.counters import Reference, SignalReference
from edge_protocol.errors import EdgesMismatch
from edge_protocol.ranges import Ranges
from edge_protocol.statistics import Finding


@dataclass(frozen=True, slots=True)
class Rules:
    """When it is drift: samples a window, distance from the reference, windows in a row."""

    samples: int = statistics.MIN_COUNT
    psi: float = statistics.PSI_DRIFT
    windows: int = 2


@dataclass(frozen=True, slots=True)
class Series:
    """What is compared: one bundle in one pipeline of one gateway, against one reference."""

    tenant: str
    gateway: str
    pipeline: str
    bundle: str
    reference: str

    @property
    def subject(self) -> Subject:
        """What its alarm is about."""
        return Subject(self.gateway, DRIFT, self.pipeline, self.bundle, self.tenant)


def tick(connection: Connection, now_us: int, rules: Rules = Rules()) -> int:
    """Judge what can be judged now, in the transaction of `connection`; answers with the number of new windows."""
    waiting = (
        select(panes.c.tenant, panes.c.gateway, panes.c.pipeline, panes.c.bundle, panes.c.reference)
        .where(panes.c.window_id.is_(None))
        .distinct()
    )
    made = 0
    for row in connection.execute(waiting).all():
        series = Series(*row)
        reference = reference_of(connection, series.reference)
        if reference is not None:  # else they wait until the bundle is added
            made += _judge(connection, series, reference, now_us, rules)
    return made


def _judge(connection: Connection, series: Series, reference: Reference, now_us: int, rules: Rules) -> int:
    made = 0
    for group in grouped(_in_order(connection, series), rules.samples):
        counts = merged(group)
        findings = {signal.name: _finding(signal, counts.get(signal.name), rules) for signal in reference.signals}
        _write(connection, series, group, counts, findings)
        _alarm(connection, series, now_us, rules)
        clear_others(connection, series.subject, now_us)
        made += 1
    return made


def grouped(waiting: Iterable[Row[Any]], samples: int) -> list[list[Row[Any]]]:
    """Consecutive panes that together hold enough: every signal that is counted at all, or twice as many parts."""
    groups: list[list[Row[Any]]] = []
    group: list[Row[Any]] = []
    for pane in waiting:
        group.append(pane)
        totals = [sum(counts) for counts in merged(group).values()]
        n = sum(each.n for each in group)
        if n >= 2 * samples or (n >= samples and min(totals, default=0) >= samples):
            groups.append(group)
            group = []
    return groups


def merged(group: Sequence[Row[Any]]) -> dict[str, tuple[int, ...]]:
    """The counts of some panes together, without signals whose panes differ in edges: they cannot be added."""
    total: dict[str, tuple[int, ...]] = {}
    odd: set[str] = set()
    for pane in group:
        for name, counts in unpack_counts(pane.counts).items():
            before = total.get(name, (0,) * len(counts))
            if len(before) != len(counts):
                odd.add(name)
            else:
                total[name] = tuple(a + b for a, b in zip(before, counts, strict=True))
    return {name: counts for name, counts in total.items() if name not in odd}


def _finding(signal: SignalReference, counts: tuple[int, ...] | None, rules: Rules) -> Finding:
    if counts is None:
        return Finding(FindingState.INSUFFICIENT, 0)
    try:
        live, good = np.array(counts, np.int64), np.array(signal.counts, np.int64)
        return statistics.compare(good, live, min_count=rules.samples, psi_drift=rules.psi)
    except EdgesMismatch:
        return Finding(FindingState.INTEGRITY_FAULT, sum(counts))


def _in_order(connection: Connection, series: Series) -> list[Row[Any]]:
    """The panes that wait, in the order they were made, up to the first hole that may still be filled."""
    query = (
        select(panes)
        .where(
            panes.c.gateway == series.gateway,
            panes.c.pipeline == series.pipeline,
            panes.c.bundle == series.bundle,
            panes.c.reference == series.reference,
            panes.c.window_id.is_(None),
        )
        .with_for_update()
    )  # another replica that waits here finds them judged
    rows = connection.execute(query).all()
    complete = {key: _complete(connection, series.gateway, *key) for key in {(row.epoch, row.stream) for row in rows}}
    ready = [row for row in rows if row.seq <= complete[row.epoch, row.stream]]
    age = _ages(connection, series.gateway, {row.epoch for row in ready})
    return sorted(ready, key=lambda row: (age[row.epoch], row.stream, row.seq))


def _complete(connection: Connection, gateway: str, epoch: int, stream: str) -> int:
    """Up to which number everything is here or declared as lost."""
    query = select(cursors.c.archived, cursors.c.declared).where(
        cursors.c.gateway == gateway, cursors.c.epoch == epoch, cursors.c.stream == stream
    )
    archived, declared = (msgspec.msgpack.decode(raw, type=Ranges) for raw in connection.execute(query).one())
    return ranges.prefix(ranges.union(archived, declared))


def _ages(connection: Connection, gateway: str, epochs: set[int]) -> dict[int, int]:
    """Epochs by when the hub first heard of them: their own numbers are random."""
    query = (
        select(batches.c.epoch, func.min(batches.c.id))
        .where(batches.c.gateway == gateway, batches.c.epoch.in_(sorted(epochs)))
        .group_by(batches.c.epoch)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def _write(
    connection: Connection,
    series: Series,
    group: Sequence[Row[Any]],
    counts: dict[str, tuple[int, ...]],
    findings: dict[str, Finding],
) -> None:
    statement = windows.insert().values(
        tenant=series.tenant, gateway=series.gateway, pipeline=series.pipeline, bundle=series.bundle,
        reference=series.reference, opened_us=group[0].opened_us, closed_us=group[-1].closed_us,
        n=sum(pane.n for pane in group), counts=pack_counts(counts), findings=msgspec.msgpack.encode(findings),
    )  # fmt: skip
    window_id = connection.execute(statement.returning(windows.c.id)).scalar_one()
    for pane in group:
        key = (
            panes.c.gateway == pane.gateway, panes.c.epoch == pane.epoch,
            panes.c.stream == pane.stream, panes.c.seq == pane.seq,
        )  # fmt: skip
        connection.execute(update(panes).where(*key).values(window_id=window_id))


def _alarm(connection: Connection, series: Series, now_us: int, rules: Rules) -> None:
    """Raise, keep or clear by the last windows: the alarm is a function of them and of whether it stands."""
    query = (
        select(windows.c.findings)
        .where(windows.c.gateway == series.gateway, windows.c.pipeline == series.pipeline)
        .where(windows.c.bundle == series.bundle, windows.c.reference == series.reference)
        .order_by(windows.c.id.desc())
        .limit(rules.windows)
    )
    last = [unpack_findings(raw) for raw in connection.execute(query).scalars()]
    alarm = standing(connection, series.subject)
    if len(last) < rules.windows:
        return
    if signals := steadily_drifting(last):
        named = {**(alarm.signals if alarm is not None else {}), **signals}
        text = told(series, _name_of(connection, series.bundle), named, rules)
        raise_alarm(connection, series.subject, text, now_us, named)
    elif alarm is not None and all(is_quiet(findings) for findings in last):
        clear(connection, series.subject, now_us)


def steadily_drifting(last: Sequence[dict[str, Finding]]) -> dict[str, float]:
    """The signals that drift in every one of these windows, with the index of the first, which is the latest."""
    return {
        name: finding.psi
        for name, finding in last[0].items()
        if all(name in findings and findings[name].state is FindingState.DRIFT for findings in last)
    }


def is_quiet(findings: dict[str, Finding]) -> bool:
    """Whether a window says that all is well: something was judged, and nothing drifts."""
    states = {finding.state for finding in findings.values()}
    return FindingState.OK in states and FindingState.DRIFT not in states


def told(series: Series, bundle: str, signals: dict[str, float], rules: Rules) -> str:
    """The alarm in one sentence."""
    named = ", ".join(f"{name} (PSI {psi:.2f})" for name, psi in sorted(signals.items(), key=lambda each: -each[1]))
    return (
        f"{series.gateway}/{series.pipeline}: {named} at or above {rules.psi:g} against the reference of "
        f"{bundle} in {rules.windows} windows in a row"
    )


def _name_of(connection: Connection, digest: str) -> str:
    row = connection.execute(select(bundles.c.name, bundles.c.version).where(bundles.c.digest == digest)).one_or_none()
    return digest[:12] if row is None else f"{row.name} {row.version}"
