"""What is known of the members of a rollout: read from the archive, from signed states and from the assignments.

Only what gateways have signed is evidence: the archive holds nothing else. Reads only.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Row, Select, func, select

from cloud_hub.storage.schema import assignments, batches, contexts, records, states, verdict_totals, verdicts
from cloud_hub.updates.rollouts.gates import MAX_LATENCIES, since
from cloud_hub.updates.rollouts.plan import (
    ENDED,
    Key,
    Member,
    MemberState,
    Refused,
    Report,
    Reports,
    Rollout,
    Target,
    Verdicts,
)
from edge_protocol import messages
from edge_protocol.codes import Stream, Verdict
from edge_protocol.errors import DecodeError
from edge_protocol.messages import GatewayState, PipelineState, Update
from edge_protocol.updates import Step

SETTLE_US = 30_000_000
"""A signed state this long after an assignment speaks of it: what came before may be of an earlier one."""

MAX_TIMED = 50
"""Members whose latencies are read in one look."""

_CHUNK = 400
_BATCHES = 20
_REFUSING = frozenset({Step.REFUSED, Step.RETURNED})
_PROVING = frozenset({MemberState.ASSIGNED, MemberState.UNKNOWN})
_WATCHED = _PROVING | {MemberState.UPDATED, MemberState.FAILED, MemberState.REVERTING}
_NAMES = {verdict.value: verdict.name for verdict in Verdict}

Totals: TypeAlias = Mapping[Key, Mapping[str, Verdicts]]


def gather(connection: Connection, rollout: Rollout) -> Reports:
    """A report on each member that a look may change."""
    watched = [each for each in rollout.members if _is_watched(rollout, each)]
    if not watched:
        return {}
    gateways = sorted({each.gateway for each in watched})
    given = [each for each in watched if each.attempt]
    totals, told, said = _totals(connection, gateways), _states(connection, gateways), _updates(connection, given)
    others = _overtaken(connection, rollout, gateways)
    last = connection.execute(select(func.max(batches.c.id))).scalar_one_or_none() or 0
    timed = {each.key for each in _timed(rollout, watched, totals, last)}
    return {
        each.key: _report(
            connection, rollout, each, totals.get(each.key, {}), told=told.get(each.key), said=_said_of(said, each),
            overtaken_by=others.get(each.key, 0) if each.attempt else 0, last=last, is_timed=each.key in timed,
        )
        for each in watched
    }  # fmt: skip


def running(connection: Connection, gateways: Iterable[str]) -> dict[str, GatewayState]:
    """The last signed state of each of these gateways."""
    found: dict[str, GatewayState] = {}
    for chunk in _chunks(sorted(gateways)):
        for row in connection.execute(select(states.c.gateway, states.c.body).where(states.c.gateway.in_(chunk))):
            try:
                found[row.gateway] = messages.decode(GatewayState, row.body)
            except DecodeError:
                continue
    return found


def target_of(pipeline: PipelineState) -> Target | None:
    """What a pipeline runs by its gateway's word."""
    return Target(pipeline.model, pipeline.version, pipeline.digest) if pipeline.digest else None


def _is_watched(rollout: Rollout, member: Member) -> bool:
    if member.state is MemberState.PENDING:
        return rollout.state not in ENDED and member.wave <= rollout.wave + 1
    return member.state in _WATCHED


def _timed(rollout: Rollout, watched: Sequence[Member], totals: Totals, last: int) -> list[Member]:
    """Whose latencies are looked at: whoever has verdicts enough, so many at a time that a look stays short.

    First those who have none yet; then the others in turns, as new batches come.
    """
    plan = rollout.plan
    if plan.gates.latency_ms is None:
        return []
    digest = plan.target.digest
    ready = [
        each
        for each in watched
        if each.state in _PROVING
        and sum(since(totals.get(each.key, {}).get(digest, {}), each.baseline).values()) >= plan.min_verdicts
    ]
    again = [each for each in ready if each.evidence.p99_ms]
    turn = last % max(len(again), 1)
    return [*(each for each in ready if not each.evidence.p99_ms), *again[turn:], *again[:turn]][:MAX_TIMED]


def _report(
    connection: Connection, rollout: Rollout, member: Member, totals: Mapping[str, Verdicts], *,
    told: tuple[int, PipelineState] | None, said: Sequence[tuple[int, Update]], overtaken_by: int, last: int,
    is_timed: bool,
) -> Report:  # fmt: skip
    plan = rollout.plan
    after = batches.c.id > member.since
    step, refused = _latest(rollout, member, said)
    if not step and told is not None and told[0] >= member.assigned_us + SETTLE_US:
        step, refused = _by_state(told[1], plan.target.digest)
    return Report(
        running=target_of(told[1]) if told is not None else None, totals=totals, last_batch=last, step=step,
        refused=refused, superseded=overtaken_by,
        latencies_us=_latencies(connection, member, plan.target.digest, after) if is_timed else (),
        before_us=_before(connection, member) if is_timed else (),
    )  # fmt: skip


def _totals(connection: Connection, gateways: Sequence[str]) -> dict[Key, dict[str, dict[str, int]]]:
    found: defaultdict[Key, dict[str, dict[str, int]]] = defaultdict(dict)
    for chunk in _chunks(gateways):
        columns = (contexts.c.gateway, contexts.c.pipeline, contexts.c.digest, verdict_totals.c.verdict)
        joined = (verdict_totals.c.context_id == contexts.c.id) & (verdict_totals.c.gateway == contexts.c.gateway)
        query = select(*columns, func.sum(verdict_totals.c.n)).join(verdict_totals, joined)
        for gateway, pipeline, digest, verdict, n in connection.execute(
            query.where(contexts.c.gateway.in_(chunk)).group_by(*columns)
        ):
            found[gateway, pipeline].setdefault(digest, {})[_NAMES.get(verdict, str(verdict))] = int(n)
    return found


def _states(connection: Connection, gateways: Sequence[str]) -> dict[Key, tuple[int, PipelineState]]:
    """When the last state of each pipeline came, and what it says."""
    came: dict[str, int] = {}
    for chunk in _chunks(gateways):
        query = select(states.c.gateway, states.c.received_us).where(states.c.gateway.in_(chunk))
        came |= {row.gateway: row.received_us for row in connection.execute(query)}
    return {
        (gateway, pipeline.name): (came.get(gateway, 0), pipeline)
        for gateway, state in running(connection, gateways).items()
        for pipeline in state.pipelines
    }


def _updates(connection: Connection, given: Sequence[Member]) -> dict[Key, list[tuple[int, Update]]]:
    """The update records since the assignments, in the order they came, with their batches' numbers."""
    found: defaultdict[Key, list[tuple[int, Update]]] = defaultdict(list)
    first = min((each.since for each in given), default=0)
    for chunk in _chunks(sorted({each.gateway for each in given})):
        for row in connection.execute(_records_since(chunk, first)):
            try:
                record = messages.decode_record(row.body)
            except DecodeError:
                continue
            if isinstance(record, Update):
                found[row.gateway, record.pipeline].append((row.batch_id, record))
    return found


def _said_of(said: Mapping[Key, list[tuple[int, Update]]], member: Member) -> list[tuple[int, Update]]:
    """What was said of the pipeline, and of all at once: a set that is refused as a whole names no pipeline."""
    return [*said.get((member.gateway, ""), ()), *said.get(member.key, ())]


def _records_since(gateways: Sequence[str], batch: int) -> Select[Any]:
    # By way of the batches: these have an index by gateway, stream and number, and rows have one by sequence number.
    joined = (
        (records.c.gateway == batches.c.gateway)
        & (records.c.epoch == batches.c.epoch)
        & (records.c.stream == batches.c.stream)
        & records.c.seq.between(batches.c.first, batches.c.last)
        & (records.c.batch_id == batches.c.id)
    )
    return (
        select(records.c.gateway, records.c.batch_id, records.c.body)
        .select_from(batches.join(records, joined))
        .where(batches.c.gateway.in_(gateways), batches.c.stream == Stream.EVENTS, batches.c.id > batch)
        .where(records.c.kind == "update")
        .order_by(records.c.batch_id, records.c.epoch, records.c.seq)
    )


def _latest(rollout: Rollout, member: Member, said: Sequence[tuple[int, Update]]) -> tuple[str, Refused | None]:
    """The last step of this release, and the refusal if that is one.

    What could not be trusted at all names no release; whoever holds the broker can send such a thing, so it is kept as
    a hint and never makes a member fail.
    """
    digest, number = rollout.plan.target.digest, str(rollout.id)
    fresh = [record for batch, record in said if batch > member.since]
    named = [
        each
        for each in fresh
        if each.digest == digest or (not each.digest and each.rollout.partition(".")[0] == number)
    ]
    if named:
        last = named[-1]
        return last.step, Refused(last.step, last.refusal, last.detail) if _refuses(last.step, last.refusal) else None
    unnamed = [each for each in fresh if not each.digest and each.refusal]
    return "", Refused(unnamed[-1].step, unnamed[-1].refusal, unnamed[-1].detail, by_name=False) if unnamed else None


def _by_state(told: PipelineState, digest: str) -> tuple[str, Refused | None]:
    """What the gateway says of itself, where no record of the step is here."""
    if told.wanted != digest:
        return "", None
    return told.step, Refused(told.step, told.refusal) if _refuses(told.step, told.refusal) else None


def _refuses(step: str, refusal: str) -> bool:
    """One that may be over by itself stays at the step it was at, with the refusal's name."""
    return bool(refusal) or step in _REFUSING


def _before(connection: Connection, member: Member) -> tuple[int, ...]:
    """What the release of before took, until the new one was assigned."""
    if member.previous is None:
        return ()
    return _latencies(connection, member, member.previous.digest, batches.c.id <= member.since)


def _latencies(connection: Connection, member: Member, digest: str, when: ColumnElement[bool]) -> tuple[int, ...]:
    """Of the newest verdicts of a release; what was not inspected took no time to speak of."""
    mine = (contexts.c.gateway == member.gateway) & (contexts.c.pipeline == member.pipeline)
    ids = connection.execute(select(contexts.c.id).where(mine, contexts.c.digest == digest)).scalars().all()
    newest = (
        select(batches)
        .where(batches.c.gateway == member.gateway, batches.c.stream == Stream.VERDICTS, when)
        .order_by(batches.c.id.desc())
        .limit(_BATCHES)
    )
    found: list[int] = []
    for batch in connection.execute(newest).all():
        if len(found) >= MAX_LATENCIES:
            break
        found += connection.execute(_of_batch(batch, ids)).scalars()
    return tuple(found[:MAX_LATENCIES])


def _of_batch(batch: Row[Any], context_ids: Sequence[int]) -> Select[Any]:
    return select(verdicts.c.latency_us).where(
        verdicts.c.gateway == batch.gateway,
        verdicts.c.epoch == batch.epoch,
        verdicts.c.seq.between(batch.first, batch.last),
        verdicts.c.batch_id == batch.id,
        verdicts.c.context_id.in_(context_ids),
        verdicts.c.verdict != Verdict.UNINSPECTED,
    )


def _overtaken(connection: Connection, rollout: Rollout, gateways: Sequence[str]) -> dict[Key, int]:
    """The pipelines that another rollout has been given since."""
    found: dict[Key, int] = {}
    for chunk in _chunks(gateways):
        query = select(assignments.c.gateway, assignments.c.pipeline, assignments.c.rollout)
        for gateway, pipeline, offer in connection.execute(query.where(assignments.c.gateway.in_(chunk))):
            number = offer.partition(".")[0]
            if number.isdecimal() and int(number) > rollout.id:
                found[gateway, pipeline] = int(number)
    return found


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """In pieces: a database takes so many values in one statement."""
    for at in range(0, len(names), _CHUNK):
        yield names[at : at + _CHUNK]
