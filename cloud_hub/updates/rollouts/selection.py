"""Who is meant by a selection: pipelines of gateways, and why one of them cannot take part. Reads only."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select

from cloud_hub.storage.schema import gateways, rollout_members, rollouts
from cloud_hub.updates.rollouts.plan import ENDED, Key, MemberState, Plan, Selection, Target
from cloud_hub.updates.rollouts.reports import running, target_of
from cloud_hub.updates.rollouts.waves import Place
from edge_protocol import bundle
from edge_protocol.bundle import Manifest
from edge_protocol.messages import GatewayState

REDUNDANT = "redundant"
"""The label that names gateways of one line which stand in for each other."""


class Candidate(msgspec.Struct, frozen=True):
    """A pipeline that is selected, what runs there now, and why it cannot take part; empty when it can.

    `pipeline` is empty where nothing is known of the gateway's pipelines.
    """

    place: Place
    pipeline: str
    runs: Target | None = None
    reason: str = ""

    @property
    def key(self) -> Key:
        """Gateway and pipeline."""
        return self.place.gateway, self.pipeline


def candidates(connection: Connection, plan: Plan, manifest: Manifest, tenant: str) -> list[Candidate]:
    """Every selected pipeline, by gateway and name."""
    query = select(gateways).where(gateways.c.tenant == tenant).order_by(gateways.c.id)
    rows = [row for row in connection.execute(query) if _is_meant(row, plan.selection)]
    told, busy = running(connection, [row.id for row in rows]), _busy(connection)
    return [
        found if found.reason or not (by := busy.get(found.key)) else msgspec.structs.replace(found, reason=by)
        for row in rows
        for found in _of_gateway(place_of(row), told.get(row.id), plan, manifest)
    ]


def states_of(connection: Connection, chosen: Selection, tenant: str) -> list[tuple[str, GatewayState]]:
    """The selected gateways that have ever said what they run, with what they say, by name."""
    query = select(gateways).where(gateways.c.tenant == tenant).order_by(gateways.c.id)
    names = [row.id for row in connection.execute(query) if _is_meant(row, chosen)]
    told = running(connection, names)
    return [(name, told[name]) for name in names if name in told]


def unknown_names(connection: Connection, selection: Selection, tenant: str) -> list[str]:
    """The gateways that are named and not enrolled."""
    known = set(connection.execute(select(gateways.c.id).where(gateways.c.tenant == tenant)).scalars())
    return [name for name in selection.gateways if name not in known]


def place_of(row: Row[Any]) -> Place:
    """A gateway with its stand-ins: those of its line with the same label."""
    group = row.labels.get(REDUNDANT, "")
    return Place(row.id, f"{row.site}/{row.line}/{group}" if group else "")


def _is_meant(row: Row[Any], selection: Selection) -> bool:
    return (
        (not selection.sites or row.site in selection.sites)
        and (not selection.lines or row.line in selection.lines)
        and (not selection.gateways or row.id in selection.gateways)
        and all(row.labels.get(name) == value for name, value in selection.labels.items())
    )


def _of_gateway(place: Place, state: GatewayState | None, plan: Plan, manifest: Manifest) -> Iterator[Candidate]:
    if state is None:
        yield Candidate(place, "", None, "it has never said what it runs")
        return
    reason = bundle.why_not(manifest, state.features, state.arch, state.cpu_flags)
    wanted = plan.selection.pipelines
    for pipeline in sorted(state.pipelines, key=lambda each: each.name):
        if pipeline.name in wanted or (not wanted and pipeline.model == plan.target.bundle):
            yield Candidate(place, pipeline.name, target_of(pipeline), reason)
    named = {pipeline.name for pipeline in state.pipelines}
    for name in wanted:
        # Named for many gateways, a pipeline need not be on each; named for this one it is missed.
        if name not in named and place.gateway in plan.selection.gateways:
            yield Candidate(place, name, None, "it has no such pipeline")


def _busy(connection: Connection) -> Mapping[Key, str]:
    query = (
        select(rollout_members.c.gateway, rollout_members.c.pipeline, rollouts.c.id, rollouts.c.state)
        .join(rollouts, rollouts.c.id == rollout_members.c.rollout_id)
        .where(rollouts.c.state.not_in(ENDED), rollout_members.c.state != MemberState.EXCLUDED)
    )
    return {
        (row.gateway, row.pipeline): f"it is in rollout {row.id}, which is {row.state}"
        for row in connection.execute(query)
    }
