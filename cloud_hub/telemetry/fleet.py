"""What the hub knows of each gateway beside its records: its keys, its last state, whether it seems online."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, select, update

from cloud_hub.storage.database import put
from cloud_hub.storage.schema import gateway_keys, gateways, refusals, states
from cloud_hub.telemetry.account import cursors_of, last_state
from cloud_hub.telemetry.archive import Answer
from cloud_hub.telemetry.marks import remember
from cloud_hub.telemetry.verify import LinkArrival, Sender, StateArrival
from edge_protocol import envelope, messages, ranges
from edge_protocol.envelope import PublicKey

MAX_DETAIL = 200


def senders(connection: Connection, names: Iterable[str]) -> dict[str, Sender]:
    """Those of `names` that are enrolled, with the keys that are not revoked. Asked anew each time: keys change."""
    query = (
        select(gateways.c.id, gateways.c.tenant, gateway_keys.c.key_id, gateway_keys.c.pem)
        .join(gateway_keys, gateway_keys.c.gateway == gateways.c.id)
        .where(gateways.c.id.in_(sorted(names)), gateway_keys.c.revoked_us.is_(None))
    )
    found: dict[str, Sender] = {}
    for row in connection.execute(query):
        keys: Mapping[bytes, PublicKey] = {bytes.fromhex(row.key_id): _key(row.pem)}
        if row.id in found:
            keys = {**found[row.id].keys, **keys}
        found[row.id] = Sender(row.id, row.tenant, keys)
    return found


def keep_state(connection: Connection, arrival: StateArrival, now_us: int) -> None:
    """Keep a state, unless a later one of the same run is here; what earlier ones had made is not forgotten."""
    state = arrival.state
    last = connection.execute(
        select(states.c.boot, states.c.run, states.c.sent_us).where(states.c.gateway == state.gateway)
    ).one_or_none()
    same_run = last is not None and (last.boot, last.run) == (state.time.boot, state.time.run)
    if last is not None and same_run and last.sent_us > state.sent_us:
        return
    committed = {key: cursor.committed for key, cursor in cursors_of(connection, state.gateway).items()}
    kept = remember(state, last_state(connection, state.gateway)[0], committed)
    row: dict[str, Any] = {
        "gateway": state.gateway, "tenant": arrival.tenant, "boot": state.time.boot, "run": state.time.run,
        "sent_us": state.sent_us, "received_us": now_us, "key_id": arrival.key_id.hex(),
        "body": arrival.body if kept is state else messages.encode(kept),
    }  # fmt: skip
    put(connection, states, row)
    known = {"agent_version": state.agent_version, "features": list(state.features)}
    connection.execute(update(gateways).where(gateways.c.id == state.gateway).values(**known))


def news_for(connection: Connection, arrival: StateArrival) -> list[Answer]:
    """Where the hub has numbers that this gateway, by its own state, has not given yet: its disk was restored.

    Such a receipt answers no message, so nothing may be deleted for it: what the numbers stand for was not compared.
    """
    told = {(line.epoch, line.stream): line.produced for line in arrival.state.streams}
    epochs = {line.epoch for line in arrival.state.streams}
    news = []
    for (epoch, stream), cursor in cursors_of(connection, arrival.state.gateway).items():
        highest = max((last for _, last in cursor.committed), default=0)
        if epoch in epochs and highest > told.get((epoch, stream), 0):
            beyond = ((highest + 1, highest + 1),)
            news.append(Answer(arrival.state.gateway, epoch, stream, cursor.committed, ranges.EMPTY, beyond))
    return news


def keep_link(connection: Connection, arrival: LinkArrival, now_us: int) -> None:
    """Note the unsigned hint; one about a gateway that is not enrolled changes nothing."""
    values = {"link_online": arrival.online, "link_us": now_us}
    connection.execute(update(gateways).where(gateways.c.id == arrival.gateway).values(**values))


def seen(connection: Connection, names: Iterable[str], now_us: int) -> None:
    """Something that these gateways signed has arrived."""
    if wanted := sorted(names):
        connection.execute(update(gateways).where(gateways.c.id.in_(wanted)).values(last_seen_us=now_us))


def keep_refusals(connection: Connection, counted: Sequence[tuple[str, str, int, str]], now_us: int) -> None:
    """Add to the refusals in the database: gateway (empty when not enrolled), kind, how many, the last one's detail."""
    for gateway, kind, n, detail in counted:
        key = (refusals.c.gateway == gateway) & (refusals.c.kind == kind)
        before = connection.execute(select(refusals.c.n, refusals.c.first_us).where(key)).one_or_none()
        row = {
            "gateway": gateway, "kind": kind, "n": n + (before.n if before is not None else 0),
            "first_us": before.first_us if before is not None else now_us, "last_us": now_us,
            "detail": detail.replace("\0", "")[:MAX_DETAIL],
        }  # fmt: skip
        put(connection, refusals, row)


@lru_cache(maxsize=20_000)
def _key(pem: str) -> PublicKey:
    return envelope.load_public_key(pem.encode())
