"""Late joiners: gateways that a selection means by now and did not when its rollout was made. They obey the waves."""

from msgspec.structs import replace
from sqlalchemy import Connection, select

from cloud_hub.errors import HubError
from cloud_hub.storage.objects import Objects
from cloud_hub.storage.schema import gateways
from cloud_hub.updates import catalogue
from cloud_hub.updates.rollouts import waves
from cloud_hub.updates.rollouts.plan import Decision, Member, MemberState, Rollout, RolloutState
from cloud_hub.updates.rollouts.selection import candidates, place_of

EVERY_US = 60_000_000


def join(
    connection: Connection, objects: Objects, rollout: Rollout, now_us: int
) -> tuple[Rollout, tuple[Decision, ...]]:
    """The rollout with those that are new by now, asked for once a minute while it runs."""
    if rollout.state is not RolloutState.RUNNING or now_us < rollout.joined_us + EVERY_US:
        return rollout, ()
    rollout = replace(rollout, joined_us=now_us)
    release = catalogue.by_digest(connection, rollout.plan.target.digest)
    if release is None:
        return rollout, ()
    try:
        manifest = catalogue.manifest(objects, release)
    except HubError:
        return rollout, ()  # nobody joins while the store is away; the rollout itself needs no file of it
    known = {each.key for each in rollout.members}
    found = candidates(connection, rollout.plan, manifest, rollout.tenant)
    able = [each for each in found if not each.reason and each.key not in known]
    if not able:
        return rollout, ()
    places = {row.id: place_of(row) for row in connection.execute(select(gateways))}
    seats = [(places[each.gateway], each.wave) for each in _taking_part(rollout) if each.gateway in places]
    told = []
    for each in able:
        theirs = [wave for place, wave in seats if place.gateway == each.place.gateway]
        wave = max(theirs[0], rollout.wave) if theirs else waves.late(rollout.plan.waves, seats, each.place)
        seats.append((each.place, wave))
        member = Member(gateway=each.key[0], pipeline=each.pipeline, wave=wave, changed_us=now_us)
        rollout = replace(rollout, members=(*rollout.members, member))
        text = f"joined wave {wave + 1}: it is selected by now"
        told.append(Decision(text=text, wave=wave, gateway=member.gateway, pipeline=member.pipeline))
    return rollout, tuple(told)


def _taking_part(rollout: Rollout) -> list[Member]:
    return [each for each in rollout.members if each.state is not MemberState.EXCLUDED]
