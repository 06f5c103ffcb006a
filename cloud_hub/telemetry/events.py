"""Events in words: what a gateway reported of itself and what the hub had to refuse or set aside. Reads only."""

import msgspec
from sqlalchemy import Connection, select

from cloud_hub.storage.schema import quarantine, records, refusals
from edge_protocol import messages
from edge_protocol.codes import Stream
from edge_protocol.errors import DecodeError
from edge_protocol.messages import Adjusted, Fault, Gap, Started, Stopped, Uncertain, Unknown, Update


class EventView(msgspec.Struct, frozen=True):
    """Something that happened, in one sentence."""

    at_us: int
    kind: str
    text: str


def recent_events(connection: Connection, gateway: str, limit: int = 50) -> list[EventView]:
    """The last events of a gateway, the newest first."""
    views = [
        *_reported(connection, gateway, limit),
        *_refused(connection, gateway),
        *_contradicted(connection, gateway),
    ]
    return sorted(views, key=lambda view: view.at_us, reverse=True)[:limit]


def _reported(connection: Connection, gateway: str, limit: int) -> list[EventView]:
    query = (
        select(records)
        .where(records.c.gateway == gateway, records.c.stream == Stream.EVENTS)
        .order_by(records.c.batch_id.desc(), records.c.seq.desc())
        .limit(limit)
    )
    return [EventView(row.at_us, row.kind, describe(row.body)) for row in connection.execute(query)]


def _refused(connection: Connection, gateway: str) -> list[EventView]:
    rows = connection.execute(select(refusals).where(refusals.c.gateway == gateway)).all()
    return [
        EventView(row.last_us, "refused", f"{row.n} message(s) refused as {row.kind}, the last: {row.detail}")
        for row in rows
    ]


def _contradicted(connection: Connection, gateway: str) -> list[EventView]:
    query = select(quarantine).where(quarantine.c.gateway == gateway).order_by(quarantine.c.id.desc()).limit(10)
    return [
        EventView(row.received_us, "quarantine", f"{row.stream} {row.conflicts} came again with other bytes")
        for row in connection.execute(query)
    ]


def describe(body: bytes) -> str:
    """One sentence for a record of the events stream."""
    try:
        return _sentence(messages.decode_record(body))
    except DecodeError as error:
        return f"unreadable: {error}"


def _sentence(record: messages.AnyRecord | Unknown) -> str:  # noqa: PLR0911 (one line a kind)
    match record:
        case Gap():
            return f"{record.stream} {record.first} to {record.last} will not arrive: {record.reason}"
        case Started():
            how = "after an orderly stop" if record.clean else f"after a crash, {record.recovered} trigger(s) recovered"
            return f"agent {record.agent_version} started {how}"
        case Stopped():
            return f"stopped: {record.reason}" if record.reason else "stopped"
        case Uncertain():
            return f"triggers {record.first_trigger} to {record.last_trigger} are uncertain: {record.reason}"
        case Fault():
            what = "is wrong" if record.active else "is right again"
            return " ".join(f"{record.part} {record.name} {what}: {record.reason} {record.detail}".split())
        case Update():
            release = f"{record.bundle} {record.version}".strip() or "what came"
            why = f": {record.refusal} {record.detail}".rstrip() if record.refusal or record.detail else ""
            by = f" by {record.actor}" if record.actor else ""
            return " ".join(f"{record.pipeline} {release} {record.step}{by}{why}".split())
        case Adjusted():
            point = f"operating point {record.name} {record.version} of {record.bundle}" if record.name else "its own"
            if record.refusal:
                return f"{record.pipeline} does not judge by {point}: {record.refusal} {record.detail}".rstrip()
            return f"{record.pipeline} judges by {point}" + (f": {record.detail}" if record.detail else "")
        case Unknown():
            return f"a record of kind {record.kind}, which this version of the hub does not know"
    return str(msgspec.to_builtins(record))
