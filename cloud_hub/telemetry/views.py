"""What people look at, as structs: the fleet, a gateway, its verdicts and events. Reads only.

Times are UTC microseconds. Counts of verdicts are of archived rows; rates and latencies of rows of the last minute.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, func, select

from cloud_hub.storage.schema import alarms, batches, contexts, gateways, verdict_totals, verdicts
from cloud_hub.telemetry.account import Account, account, last_state
from cloud_hub.telemetry.events import EventView, recent_events
from edge_protocol.codes import ClockState, Reason, Verdict
from edge_protocol.messages import GatewayState, PipelineState, Place

__all__ = [
    "EventView", "GatewayView", "PipelineView", "VerdictView",
    "fleet", "gateway", "recent_events", "recent_verdicts", "verdict_series",
]  # fmt: skip

ONLINE_S = 20
"""A gateway sends its state every 5 s; one that has been silent for longer than this is not online."""

RATE_S = 60
_S = 1_000_000
_VERDICTS = {verdict.value: verdict.name for verdict in Verdict}
_REASONS = {reason.value: reason.name for reason in Reason}


class PipelineView(msgspec.Struct, frozen=True):
    """A pipeline: what runs there by the gateway's word, what it judged by the rows that arrived."""

    name: str
    model: str
    version: str
    digest: str
    variant: str
    triggers: int
    verdicts: dict[str, int]
    rate_per_min: float
    ng_share: float
    p50_ms: float
    p99_ms: float
    ready: bool
    operating_point: str = ""
    """Digest of the signed file it judges by; empty: its bundle's own."""


class GatewayView(msgspec.Struct, frozen=True):
    """A gateway as the fleet page shows it."""

    id: str
    place: Place
    agent_version: str
    online: bool
    last_seen_us: int
    clock: ClockState
    pipelines: tuple[PipelineView, ...]
    account: Account
    alarms: int


class VerdictView(msgspec.Struct, frozen=True):
    """One verdict with what made it."""

    at_us: int
    received_us: int
    pipeline: str
    trigger: int
    part: str
    verdict: str
    reason: str
    score: float | None
    latency_ms: float
    bundle: str
    version: str


def fleet(connection: Connection, now_us: int) -> list[GatewayView]:
    """All gateways, by site, line and name."""
    rows = connection.execute(select(gateways).order_by(gateways.c.site, gateways.c.line, gateways.c.id)).all()
    return [_gateway(connection, row, now_us) for row in rows]


def gateway(connection: Connection, name: str, now_us: int) -> GatewayView:
    """One gateway.

    Raises:
        KeyError: no gateway of this name is enrolled.
    """
    row = connection.execute(select(gateways).where(gateways.c.id == name)).one_or_none()
    if row is None:
        raise KeyError(name)
    return _gateway(connection, row, now_us)


def recent_verdicts(connection: Connection, name: str, limit: int = 50) -> list[VerdictView]:
    """The verdicts of a gateway that arrived last, the newest first."""
    newest = (
        select(batches)
        .where(batches.c.gateway == name, batches.c.stream == "verdicts", batches.c.added > 0)
        .order_by(batches.c.id.desc())
        .limit(limit)
    )
    views: list[VerdictView] = []
    # Newest by arrival, batch by batch: a handful of key ranges instead of an index on every row.
    for batch in connection.execute(newest).all():
        if len(views) >= limit:
            break
        views += _verdicts_of(connection, batch, limit - len(views))
    return views


def verdict_series(connection: Connection, name: str, since_us: int, bucket_s: int) -> dict[str, list[int]]:
    """Verdicts a bucket since `since_us`, by the time of the trigger: `t` in UTC seconds, then a list for each verdict.

    Every bucket from the first to the last that has a verdict is there, the empty ones with zeros.
    """
    bucket = (verdicts.c.at_us - verdicts.c.at_us % (bucket_s * _S)).label("bucket")
    query = (
        select(bucket, verdicts.c.verdict, func.count())
        .select_from(batches.join(verdicts, _of_batch()))
        .where(batches.c.gateway == name, batches.c.stream == "verdicts", batches.c.last_us >= since_us)
        .where(verdicts.c.at_us >= since_us)
        .group_by("bucket", verdicts.c.verdict)
    )
    counted = {(at // _S, verdict): n for at, verdict, n in connection.execute(query)}
    times = [at for at, _ in counted]
    steps = list(range(min(times), max(times) + 1, bucket_s)) if times else []
    series = {verdict.name: [counted.get((at, verdict.value), 0) for at in steps] for verdict in Verdict}
    return {"t": steps, **series}


def _gateway(connection: Connection, row: Row[Any], now_us: int) -> GatewayView:
    state, _ = last_state(connection, row.id)
    active = select(func.count()).where(alarms.c.gateway == row.id, alarms.c.cleared_us.is_(None))
    place = Place(row.tenant, row.enterprise, row.site, row.area, row.line, row.cell, row.timezone, row.labels)
    gone = row.link_online is False and row.link_us >= row.last_seen_us
    return GatewayView(
        id=row.id,
        place=place,
        agent_version=row.agent_version,
        online=not gone and now_us - row.last_seen_us <= ONLINE_S * _S,
        last_seen_us=row.last_seen_us,
        clock=state.time.clock if state is not None else ClockState.OK,
        pipelines=_pipelines(connection, row.id, state, now_us),
        account=account(connection, row.id, deep=False),
        alarms=connection.execute(active).scalar_one(),
    )


def _pipelines(connection: Connection, name: str, state: GatewayState | None, now_us: int) -> tuple[PipelineView, ...]:
    totals = _totals(connection, name)
    rates = _recent(connection, name, now_us)
    told = {pipeline.name: pipeline for pipeline in state.pipelines} if state is not None else {}
    names = sorted(told.keys() | totals.keys())
    return tuple(
        _pipeline(told.get(each, PipelineState(each)), totals.get(each, {}), rates.get(each, {})) for each in names
    )


def _pipeline(told: PipelineState, totals: dict[str, int], recent: dict[str, int]) -> PipelineView:
    judged = sum(recent.values())
    return PipelineView(
        name=told.name,
        model=told.model,
        version=told.version,
        digest=told.digest,
        variant=told.variant,
        triggers=told.triggers,
        verdicts={verdict.name: totals.get(verdict.name, 0) for verdict in Verdict},
        rate_per_min=judged * 60 / RATE_S,
        ng_share=recent.get(Verdict.NG.name, 0) / judged if judged else 0.0,
        p50_ms=told.p50_ms,
        p99_ms=told.p99_ms,
        ready=told.ready,
        operating_point=told.operating_point,
    )


def _totals(connection: Connection, name: str) -> dict[str, dict[str, int]]:
    query = (
        select(contexts.c.pipeline, verdict_totals.c.verdict, func.sum(verdict_totals.c.n))
        .join(contexts, contexts.c.id == verdict_totals.c.context_id)
        .where(verdict_totals.c.gateway == name)
        .group_by(contexts.c.pipeline, verdict_totals.c.verdict)
    )
    return _by_pipeline(connection.execute(query).all())


def _recent(connection: Connection, name: str, now_us: int) -> dict[str, dict[str, int]]:
    since_us = now_us - RATE_S * _S
    query = (
        select(contexts.c.pipeline, verdicts.c.verdict, func.count())
        .select_from(batches.join(verdicts, _of_batch()).join(contexts, contexts.c.id == verdicts.c.context_id))
        .where(batches.c.gateway == name, batches.c.stream == "verdicts", batches.c.last_us >= since_us)
        .where(verdicts.c.at_us >= since_us)
        .group_by(contexts.c.pipeline, verdicts.c.verdict)
    )
    return _by_pipeline(connection.execute(query).all())


def _by_pipeline(rows: Iterable[Row[Any, Any, Any]]) -> dict[str, dict[str, int]]:
    result: dict[str, dict[str, int]] = {}
    for pipeline, verdict, n in rows:
        result.setdefault(pipeline, {})[verdict_name(verdict)] = int(n)
    return result


def _verdicts_of(connection: Connection, batch: Row[Any], limit: int) -> list[VerdictView]:
    query = (
        select(verdicts, contexts.c.pipeline, contexts.c.bundle, contexts.c.version)
        .join(contexts, contexts.c.id == verdicts.c.context_id)
        .where(verdicts.c.gateway == batch.gateway, verdicts.c.epoch == batch.epoch)
        .where(verdicts.c.seq.between(batch.first, batch.last), verdicts.c.batch_id == batch.id)
        .order_by(verdicts.c.seq.desc())
        .limit(limit)
    )
    return [
        VerdictView(
            row.at_us, batch.received_us, row.pipeline, row.trigger, row.part or "", verdict_name(row.verdict),
            reason_name(row.reason), row.score, row.latency_us / 1000, row.bundle, row.version,
        )
        for row in connection.execute(query)
    ]  # fmt: skip


def _of_batch() -> ColumnElement[bool]:
    return (
        (verdicts.c.gateway == batches.c.gateway)
        & (verdicts.c.epoch == batches.c.epoch)
        & verdicts.c.seq.between(batches.c.first, batches.c.last)
        & (verdicts.c.batch_id == batches.c.id)
    )


def verdict_name(number: int) -> str:
    """The word for a verdict's number; an unknown number stays a number."""
    return _VERDICTS.get(number, str(number))


def reason_name(number: int) -> str:
    """The word for a reason's number; an unknown number stays a number."""
    return _REASONS.get(number, str(number))
