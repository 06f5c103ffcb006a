"""What people look at of drift: each signal against its reference, and the alarms. Reads only."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import Connection, Row, and_, func, select

from cloud_hub.storage.schema import alarms as alarm_table
from cloud_hub.storage.schema import panes, references, windows
from edge_protocol.codes import FindingState
from edge_protocol.counters import Reference, load_reference
from edge_protocol.statistics import Finding

HISTORY = 200


class SignalView(msgspec.Struct, frozen=True):
    """One monitored quantity: the finding and counts of its last window, and the index of each window so far.

    Before the first window is full the finding is `insufficient` and `live` is what has been counted.
    """

    gateway: str
    pipeline: str
    signal: str
    finding: Finding
    edges: tuple[float, ...]
    reference: tuple[int, ...]
    live: tuple[int, ...]
    history: tuple[tuple[int, float], ...]
    bundle: str = ""


class AlarmView(msgspec.Struct, frozen=True):
    """An alarm; `signals` are those that drifted, `psi` their indices when last judged."""

    id: int
    gateway: str
    pipeline: str
    signals: tuple[str, ...]
    psi: dict[str, float]
    raised_us: int
    active: bool
    text: str
    kind: str = "drift"
    bundle: str = ""
    cleared_us: int | None = None


def alarms(connection: Connection, *, active_only: bool = False) -> list[AlarmView]:
    """The alarms, the newest first."""
    query = select(alarm_table).order_by(alarm_table.c.id.desc())
    if active_only:
        query = query.where(alarm_table.c.cleared_us.is_(None))
    return [_alarm(row) for row in connection.execute(query)]


def signals(connection: Connection, gateway: str | None = None) -> list[SignalView]:
    """Every signal of what runs now, by gateway, pipeline and name; none where the reference is not known here."""
    views: list[SignalView] = []
    for pane in _latest_panes(connection, gateway):
        reference = reference_of(connection, pane.reference)
        if reference is not None:
            views += _signals_of(connection, pane, reference)
    return views


def _signals_of(connection: Connection, pane: Row[Any], reference: Reference) -> list[SignalView]:
    query = (
        select(windows)
        .where(windows.c.gateway == pane.gateway, windows.c.pipeline == pane.pipeline)
        .where(windows.c.bundle == pane.bundle, windows.c.reference == pane.reference)
        .order_by(windows.c.id.desc())
        .limit(HISTORY)
    )
    past = [(row, unpack_findings(row.findings)) for row in connection.execute(query)]
    live = unpack_counts(past[0][0].counts if past else pane.counts)
    views = []
    for signal in reference.signals:
        counts = live.get(signal.name, (0,) * len(signal.counts))
        finding = past[0][1].get(signal.name) if past else None
        history = tuple(
            (row.closed_us, found[signal.name].psi) for row, found in reversed(past) if signal.name in found
        )
        views.append(
            SignalView(
                pane.gateway, pane.pipeline, signal.name,
                finding or Finding(FindingState.INSUFFICIENT, int(np.sum(counts))),
                signal.edges, signal.counts, counts, history, pane.bundle,
            )
        )  # fmt: skip
    return views


def _latest_panes(connection: Connection, gateway: str | None) -> list[Row[Any]]:
    """The last pane of each pipeline to arrive: clocks jump, arrivals do not."""
    newest = select(panes.c.gateway, panes.c.pipeline, func.max(panes.c.batch_id).label("batch_id")).group_by(
        panes.c.gateway, panes.c.pipeline
    )
    if gateway is not None:
        newest = newest.where(panes.c.gateway == gateway)
    last = newest.subquery()
    same = [panes.c[name] == last.c[name] for name in ("gateway", "pipeline", "batch_id")]
    query = select(panes).join(last, and_(*same)).order_by(panes.c.gateway, panes.c.pipeline, panes.c.seq)
    found = {(row.gateway, row.pipeline): row for row in connection.execute(query)}
    return list(found.values())


def reference_of(connection: Connection, digest: str) -> Reference | None:
    """The reference with this digest, if a bundle that has it was added here."""
    body = connection.execute(select(references.c.body).where(references.c.digest == digest)).scalar_one_or_none()
    return None if body is None else load_reference(body)


def pack_counts(counts: Mapping[str, tuple[int, ...]]) -> bytes:
    """Counts by signal as they lie in a column."""
    return msgspec.msgpack.encode(counts)


def unpack_counts(raw: bytes) -> dict[str, tuple[int, ...]]:
    """The inverse of `pack_counts`."""
    return msgspec.msgpack.decode(raw, type=dict[str, tuple[int, ...]])


def unpack_findings(raw: bytes) -> dict[str, Finding]:
    """Findings by signal as they lie in a column."""
    return msgspec.msgpack.decode(raw, type=dict[str, Finding])


def _alarm(row: Row[Any]) -> AlarmView:
    return AlarmView(
        row.id, row.gateway, row.pipeline, tuple(sorted(row.signals)), row.signals, row.raised_us,
        row.cleared_us is None, row.text, row.kind, row.bundle, row.cleared_us,
    )  # fmt: skip
